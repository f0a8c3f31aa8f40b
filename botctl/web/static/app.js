// The page: who is signed in, the menu, which room is open, and the connection.

import { mayOpen } from "./access.js";
import { Api } from "./api.js";
import { Connection } from "./connection.js";
import { notify } from "./dialogs.js";
import { button, el, empty, icon, problem, show } from "./dom.js";
import { Feed } from "./events.js";
import { refreshTimes } from "./format.js";
import { Realtime } from "./realtime.js";
import { loadRooms } from "./rooms.js";

const REFRESH_AFTER_S = 30; // how old what we know of the person may be when the page is looked at again
const RIGHTS_PAUSES_S = [0, 0.5, 1, 2]; // the web server may hear of a change a moment after the realtime server
const TIMES_EVERY_S = 5;
const RELOADED = "botctl-reloaded"; // when the page was loaded again because of its policy
const RELOAD_EVERY_S = 30;
const WANTED = "botctl-room"; // where the person wanted to go before the sign-in

class App {
  constructor(rooms) {
    this.rooms = rooms;
    this.me = null;
    this.realtime = null;
    this.feed = new Feed();
    this.close = () => {};
    this.api = new Api(() => this.me && this.signedOut("Your session has ended. Sign in again to go on."));
    this.connection = new Connection(() => (this.realtime ? this.realtime.retry() : location.reload()));
    this.root = document.getElementById("page");
  }

  async start() {
    window.addEventListener("hashchange", () => this.me && this.openRoom(true));
    window.addEventListener("online", () => this.realtime?.retry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.me && Date.now() - this.meAt > REFRESH_AFTER_S * 1000) this.refresh().catch(() => {});
    });
    document.addEventListener("securitypolicyviolation", (event) => event.effectiveDirective === "connect-src" && this.reloadForPolicy());
    setInterval(refreshTimes, TIMES_EVERY_S * 1000);
    await this.load();
  }

  async load() {
    try {
      this.setMe(await this.api.get("/api/me"));
    } catch (failure) {
      if (failure.status === 401) this.signedOut("");
      else this.unreachable(failure.message);
      return;
    }
    const wanted = sessionStorage.getItem(WANTED);
    sessionStorage.removeItem(WANTED);
    if (wanted && !location.hash) history.replaceState(null, "", wanted);
    this.draw();
    this.connect();
    this.openRoom(false);
  }

  /** The realtime server says that rights may have changed: ask until they have. */
  async followRights(pauses) {
    for (const seconds of pauses) {
      if (seconds) await new Promise((done) => setTimeout(done, seconds * 1000));
      if (!this.me || (await this.refresh().catch(() => false))) return;
    }
  }

  /** Ask again who is signed in: their rights may have changed. Returns whether they have. */
  async refresh() {
    const before = JSON.stringify([this.me.permissions, this.me.guilds, this.me.roles]);
    const session = this.me.session.id;
    const now = await this.api.get("/api/me");
    if (!this.me) return false; // signed out in between
    this.setMe(now);
    const isMoved = this.me.realtime && this.me.realtime !== this.realtime?.url; // the page may connect only to the address that it came with
    if (isMoved || this.me.session.id !== session) location.reload(); // another tab may have signed in as someone else
    if (JSON.stringify([this.me.permissions, this.me.guilds, this.me.roles]) === before) return false;
    this.drawMenu();
    this.feed.connect(this.realtime, this.me);
    this.openRoom(false);
    notify("Your rights have changed.");
    return true;
  }

  setMe(me) {
    this.me = { permissions: [], guilds: [], roles: [], ...me };
    this.bot = me.bot;
    this.meAt = Date.now();
    this.api.csrf = me.csrf;
  }

  connect() {
    if (!this.me.realtime) {
      this.connection.update({ phase: "ended", sentence: "No realtime server runs, so nothing here is live. Start one with `botctl run`." });
      return;
    }
    this.realtime = new Realtime({
      url: this.me.realtime,
      getTicket: () => this.ticket(),
      onStatus: (status) => this.connection.update(status),
      onAccess: () => this.refresh().then(() => this.realtime?.retry()).catch(() => {}),
      onRights: () => this.followRights(RIGHTS_PAUSES_S),
    });
    this.feed.connect(this.realtime, this.me);
    this.realtime.start();
  }

  /** The page was loaded while no realtime server ran, so its policy allows none: load it again, but not again and again. */
  reloadForPolicy() {
    if (Date.now() - Number(sessionStorage.getItem(RELOADED) ?? 0) < RELOAD_EVERY_S * 1000) return;
    sessionStorage.setItem(RELOADED, String(Date.now()));
    location.reload();
  }

  /** A ticket for the realtime server. Before a reconnect, look whether rights or addresses are other ones now. */
  async ticket() {
    if (this.realtime.attempts > 1) await this.refresh();
    return (await this.api.post("/api/ticket")).ticket;
  }

  openRoom(moved) {
    const [name, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const room = name ? this.rooms.find((one) => one.name === name) : this.rooms.find((one) => mayOpen(this.me, one));
    const stays = room && room === this.room && mayOpen(this.me, room);
    if (!stays) document.querySelector("dialog[open]")?.close(); // what it asks belongs to the room that is left
    this.room = room;
    this.close();
    this.close = () => {};
    const view = el("div", { class: `room ${room?.name ?? ""}` });
    show(this.main, el("h1", { tabindex: -1 }, room?.title ?? "Not found"), view);
    document.title = `${room?.title ?? "Not found"} · ${this.me.bot}`;
    for (const link of this.menu.querySelectorAll("a")) link.toggleAttribute("aria-current", link.hash === `#/${room?.name}`);
    for (const link of this.menu.querySelectorAll("a[aria-current]")) link.setAttribute("aria-current", "page");
    if (moved) {
      window.scrollTo(0, 0);
      this.main.querySelector("h1").focus({ preventScroll: true });
    }
    if (!room) {
      show(view, empty("There is no such room.", "Choose one from the menu."));
    } else if (!mayOpen(this.me, room)) {
      show(view, this.locked(room));
      if (moved) this.refresh().catch(() => {}); // the right may have been granted a moment ago
    } else {
      this.close = room.open(view, this.page(query)) ?? (() => {});
    }
  }

  /** What a room gets. */
  page(query) {
    return { me: this.me, api: this.api, realtime: this.realtime, feed: this.feed, query: new URLSearchParams(query), signOut: (everywhere) => this.signOut(everywhere) };
  }

  locked(room) {
    return el("div", { class: "locked" },
      el("p", {}, "You need the permission ", el("code", {}, room.needs), " to see this."),
      el("p", { class: "muted" }, "Someone who may grant roles can give it to you. ", el("a", { href: `#/me?need=${room.needs}` }, "Why do I not have it?")));
  }

  async signOut(everywhere) {
    await this.api.post("/api/sign-out", { everywhere });
    this.signedOut(everywhere ? "You are signed out everywhere." : "You are signed out.");
  }

  signedOut(sentence) {
    this.me = null;
    this.close();
    this.close = () => {};
    this.realtime?.stop();
    this.realtime = null;
    this.feed.clear();
    this.room = null;
    document.querySelector("dialog[open]")?.close();
    const title = el("h1", { tabindex: -1 }, this.bot || "botctl");
    document.title = `Sign in · ${this.bot || "botctl"}`;
    if (!this.bot) this.api.get("/api/site").then(({ bot }) => this.nameBot(bot, title)).catch(() => {});
    const keep = () => location.hash && sessionStorage.setItem(WANTED, location.hash);
    show(this.root, el("main", { class: "sign-in" },
      el("img", { src: "/static/icon.svg", alt: "", width: 44, height: 44 }),
      title,
      el("p", { class: "muted" }, "Operations console"),
      sentence && el("p", { role: "status" }, sentence),
      el("a", { class: "primary", href: "/auth/login", on: { click: keep } }, "Sign in with Discord"),
      el("p", { class: "muted" }, "What you may see here follows from your roles. If Discord is down, ", el("code", {}, "botctl auth link"), " on the bot’s machine prints a link that signs you in.")));
    if (sentence) this.root.querySelector("h1").focus();
  }

  nameBot(bot, title) {
    this.bot = bot;
    if (this.me) return;
    title.textContent = bot;
    document.title = `Sign in · ${bot}`;
  }

  unreachable(sentence) {
    show(this.root, el("main", { class: "sign-in" }, el("h1", {}, "No connection"), problem(sentence, button("Try again", () => this.load(), { class: "primary" }))));
  }

  draw() {
    this.menu = el("ul");
    this.main = el("main", { id: "main" });
    const skip = el("a", { class: "skip", href: "#main", on: { click: (event) => {
      event.preventDefault();
      this.main.querySelector("h1").focus();
    } } }, "Skip to the content");
    show(this.root, skip,
      el("header", { class: "side" },
        el("div", { class: "brand" }, el("img", { src: "/static/icon.svg", alt: "", width: 24, height: 24 }), el("span", {}, this.me.bot)),
        el("nav", { "aria-label": "Rooms" }, this.menu),
        this.connection.element,
        el("a", { class: "person", href: "#/me", "aria-label": "Me" }, el("span", { class: "name" }, this.me.user?.name || "Operator"), el("span", { class: "muted" }, roleNames(this.me)))),
      this.main);
    this.drawMenu();
  }

  drawMenu() {
    show(this.menu, this.rooms.filter((room) => mayOpen(this.me, room)).map((room) => el("li", {}, el("a", { href: `#/${room.name}` }, icon(room.icon), room.title))));
    show(this.root.querySelector(".person .muted"), roleNames(this.me));
  }
}

function roleNames(me) {
  return [...new Set(me.roles.map((role) => role.role))].join(", ") || "no role";
}

await new App(await loadRooms()).start();
