// botctl under PM2:  pm2 start ecosystem.config.js && pm2 save
// docs/pm2.md of botctl tells the reasons at length.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

// The Python that has botctl: BOTCTL_PYTHON, else the virtual environment of this folder, else the botctl on PATH.
const venv = path.join(__dirname, ".venv", "bin", "python");
const python = process.env.BOTCTL_PYTHON || (fs.existsSync(venv) && venv);
const onPath = (process.env.PATH || "")
  .split(path.delimiter)
  .map((folder) => path.join(folder, "botctl"))
  .find((file) => fs.existsSync(file));

if (!python && !onPath) {
  throw new Error(`There is no botctl: make ${venv}, or set BOTCTL_PYTHON to the Python that has it.`);
}

module.exports = {
  apps: [
    {
      name: "example",
      cwd: __dirname,
      script: python || onPath,
      args: python ? ["-P", "-m", "botctl", "run"] : ["run"],
      interpreter: "none", // the script is a program already; PM2 need not guess
      exec_mode: "fork", // cluster mode is for Node
      instances: 1, // a second one would be refused: one process holds the role
      env: { PYTHONUNBUFFERED: "1" },

      // Up: `pm2 start` returns once the bot receives events. It ends by itself before this when it cannot start.
      wait_ready: true,
      listen_timeout: 180_000,

      // Down: commands in flight finish (shutdown.drain_s), then services stop. botctl ends itself before this limit;
      // raise it with drain_s. PM2 signals the bot alone: the bot stops its embedded stores when it needs them no more.
      kill_timeout: 180_000,
      treekill: false,

      // Again: not after what only a person can put right, and never in a hurry. Discord allows
      // 1,000 logins a day and takes the token away after that; a start every 90 s is 960. PM2's own backoff ends at
      // 15 s, cron_restart and max_memory_restart heed no delay at all.
      // Not 0 either: that is what PM2 makes of a kill -9.
      stop_exit_codes: [2, 3, 4, 5, 6, 78],
      restart_delay: 90_000,

      watch: false, // a start costs a login: not for every file that is saved
      vizion: false, // nobody needs the git history of this folder
    },
  ],
};
