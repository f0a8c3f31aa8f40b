// botctl under PM2:  pm2 start ecosystem.config.js && pm2 save
// docs/pm2.md of botctl explains the reasons.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

// The Python that has botctl: BOTCTL_PYTHON, else the virtual environment of this folder, else the Python that ran
// `botctl init` if it is on this machine, else the botctl on PATH.
const creator = null;
const venv = path.join(__dirname, ".venv", "bin", "python");
const python = process.env.BOTCTL_PYTHON || [venv, creator].find((file) => file && fs.existsSync(file));
const onPath = (process.env.PATH || "")
  .split(path.delimiter)
  .map((folder) => path.join(folder, "botctl"))
  .find((file) => fs.existsSync(file));

if (!python && !onPath) {
  throw new Error(`There is no botctl. Install it in ${path.join(__dirname, ".venv")}, or set BOTCTL_PYTHON to the Python that has it.`);
}
const program = python ? [python, "-P", "-m", "botctl"] : [onPath];

module.exports = {
  apps: [
    {
      name: "example",
      cwd: __dirname,
      // PM2 gives a script with a blank in its path to a shell as a command line. This one has none, and becomes botctl.
      script: "/bin/sh",
      args: ["-c", 'exec "$0" "$@"', ...program, "run"],
      interpreter: "none", // the script is a program, so PM2 needs no interpreter
      exec_mode: "fork", // cluster mode is for Node
      instances: 1, // only one process can have the role of the bot
      env: { PYTHONUNBUFFERED: "1" },

      // Start: `pm2 start` returns when the bot receives events. A start that fails ends before this limit.
      wait_ready: true,
      listen_timeout: 180_000,

      // Stop: running commands finish (shutdown.drain_s), then services stop. botctl ends before this limit; raise it
      // together with drain_s. PM2 signals only the bot: it stops its embedded stores when it no longer needs them.
      kill_timeout: 240_000,
      treekill: false,

      // Restart: at once, but not after errors that only a person can correct. botctl itself waits where a crash loop, or
      // cron_restart and max_memory_restart, would use up the logins that Discord allows in a day. 0 is not in the list:
      // PM2 reports a kill -9 as 0.
      stop_exit_codes: [2, 3, 4, 5, 6, 78],
      restart_delay: 1_000,

      watch: false, // each restart is a login, so do not restart on file changes
      vizion: false, // PM2 need not read the git history of this folder
    },
  ],
};
