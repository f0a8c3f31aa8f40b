// A client of the realtime server's public protocol (docs/realtime.md). It reconnects, and recovers what it missed.

export const SENTENCES = {
  4500: "The realtime server did not understand this page. Reload it; after an update the old page may be open still.",
  4501: "The realtime server did not accept this session. Reload the page, or sign in again.",
  4502: "The realtime server was not told who you are in time. Check the connection, then connect again.",
  4504: "You have too many connections to the realtime server. Close other tabs of this page, then connect again.",
  4505: "The realtime server got too much from this page. Wait a moment, then connect again.",
  4507: "Your session has ended.",
};
const ACCESS_CHANGED = 4007;
const SESSION_ENDED = 4507;
const BAD_KEY = 4501;
const FIRST_MESSAGE_S = 20;
const MAX_PAUSE_S = 30;
const BACK = 10; // how many events of a topic come first, if the server still has them

/** The pause before attempt `failures` + 1, in seconds: it doubles, and `random` keeps clients apart. */
export function pauseAfter(failures, random = Math.random()) {
  return Math.min(MAX_PAUSE_S, 2 ** failures) * (0.5 + random / 2);
}

/**
 * `status` is {phase, at?, sentence?, missed?, lost?}: phase is connecting, live, waiting (until `at`, a time in ms) or
 * ended (`sentence` says why). After a reconnect (`back`), live has `missed` (how many events were caught up); and it has
 * `lost` where events cannot be had any more.
 */
export class Realtime {
  #socket = null;
  #timer = 0; // of the next attempt
  #silence = 0; // fires when the server sends nothing for too long
  #failures = 0;
  #number = 0; // of the last request
  #pending = new Map(); // request id to {resolve, reject}
  #topics = new Map(); // topic to its handlers
  #positions = new Map(); // topic to {epoch, offset} of the last event
  #states = new Map(); // state to {handlers, values, stale, error, lost}
  #recovering = null; // {missed, lost} while missed events come
  #retryAfterS = 0;
  #wasLive = false;
  #stopped = true;

  /**
   * `getTicket` returns a ticket, or throws a Failure. `onAccess` is called when the connection was closed because rights or
   * the session changed; `onRights` when they may have changed while it stays; `onConnect` after each connect.
   */
  constructor({ url, getTicket, onStatus, onAccess, onRights, onConnect }) {
    Object.assign(this, { url, getTicket, onStatus, onAccess, onRights, onConnect });
    this.status = { phase: "connecting" };
    this.heardAt = null; // when the server last sent something
    this.attempts = 0;
  }

  start() {
    this.#stopped = false;
    clearTimeout(this.#timer);
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Connect now, instead of at the end of the pause. */
  retry() {
    if (this.status.phase === "waiting" || this.status.phase === "ended") this.start();
  }

  /** Call `handler(event, topic)` for the last events of `topics` and for each new one; some may come twice. Returns a function that ends it. */
  subscribe(topics, handler) {
    const fresh = topics.filter((topic) => !this.#topics.has(topic));
    for (const topic of topics) this.#topics.set(topic, (this.#topics.get(topic) ?? new Set()).add(handler));
    if (fresh.length && this.isLive) this.#subscribe(fresh);
    return () => {
      const unused = [];
      for (const topic of topics) {
        const handlers = this.#topics.get(topic);
        handlers?.delete(handler);
        if (handlers?.size === 0) unused.push(topic);
      }
      for (const topic of unused) {
        this.#topics.delete(topic);
        this.#positions.delete(topic);
      }
      if (unused.length && this.isLive) this.#request("unsubscribe", { topics: unused }).catch(() => {});
    };
  }

  /**
   * Call `handler(values, {stale, error, lost})` with the values of `state` by key, now, after each change, and when the
   * connection is lost (`lost`: {since}, a Date, or null if nothing was heard yet) or back. Returns a function that ends it.
   */
  watch(state, handler) {
    let watched = this.#states.get(state);
    if (!watched) this.#states.set(state, (watched = { handlers: new Set(), values: null, stale: null, error: null, lost: this.#lost() }));
    watched.handlers.add(handler);
    handler(watched.values, watched);
    if (this.isLive && watched.handlers.size === 1) this.#watch([state]);
    return () => {
      watched.handlers.delete(handler);
      if (watched.handlers.size || this.#states.get(state) !== watched) return;
      this.#states.delete(state);
      if (this.isLive) this.#request("unwatch", { states: [state] }).catch(() => {});
    };
  }

  /** Do an action. Resolves with its result; rejects with an error whose message is the server's sentence. */
  act(action, args, reason) {
    if (!this.isLive) return Promise.reject(new Error("There is no connection to the realtime server at the moment. Try again when it is back."));
    return this.#request("do", { action, args, reason }).then((reply) => reply.result ?? {});
  }

  get isLive() {
    return this.status.phase === "live";
  }

  #set(status) {
    this.status = status;
    this.onStatus(status);
    for (const state of this.#states.keys()) this.#notify(state, { lost: this.#lost() });
  }

  /** The first connect is no loss: what is watched comes with it. */
  #lost() {
    return this.isLive || (this.status.phase === "connecting" && !this.#wasLive && !this.#failures) ? null : { since: this.heardAt };
  }

  async #connect() {
    this.#drop();
    this.attempts += 1;
    this.#set({ phase: "connecting", again: this.#wasLive });
    let ticket;
    try {
      ticket = await this.getTicket();
    } catch (failure) {
      if (this.#stopped || failure.status === 401) return; // the page shows the sign-in
      if (failure.status === 403) this.#end(failure.message);
      else this.#wait();
      return;
    }
    if (this.#stopped || this.#socket) return;
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#expectWithin(FIRST_MESSAGE_S);
    const mine = (handle) => (event) => this.#socket === socket && handle(event);
    socket.addEventListener("message", mine((event) => this.#receive(JSON.parse(event.data), ticket)));
    socket.addEventListener("close", mine((event) => this.#closed(event.code)));
  }

  #receive(message, ticket) {
    this.heardAt = new Date();
    this.#expectWithin(this.heartbeatS ? 2 * this.heartbeatS : FIRST_MESSAGE_S);
    switch (message.type) {
      case "hello":
        this.heartbeatS = message.heartbeat_s;
        this.#request("auth", { ticket }).then(() => this.#resume()).catch(() => {}); // a refusal closes the connection
        break;
      case "event":
        this.#event(message);
        break;
      case "gap":
        this.#positions.set(message.topic, { epoch: message.epoch, offset: message.offset });
        if (this.#recovering) this.#recovering.lost = true;
        else this.#set({ ...this.status, lost: true });
        break;
      case "change":
        this.#change(message);
        break;
      case "stale":
      case "fresh":
        this.#notify(message.state, { stale: message.type === "stale" ? message.since : null });
        break;
      case "rights":
        this.onRights();
        break;
      case "closing":
        this.#retryAfterS = message.retry_after_s;
        break;
    }
    if (message.id !== undefined) this.#settle(message);
  }

  #settle(message) {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.code === "forbidden") this.onRights();
    if (message.type === "error") pending?.reject(Object.assign(new Error(sentence(message.message)), { code: message.code }));
    else pending?.resolve(message);
  }

  #request(type, fields) {
    const id = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  /** After each connect: subscribe with the positions, watch again, and count what was missed. */
  async #resume() {
    const socket = this.#socket;
    this.#recovering = { missed: 0, lost: false };
    if (this.#topics.size) await this.#subscribe([...this.#topics.keys()]);
    if (this.#states.size) await this.#watch([...this.#states.keys()]);
    await this.#request("ping", {}); // missed events come before its reply
    if (this.#socket !== socket) return;
    const { missed, lost } = this.#recovering;
    this.#recovering = null;
    this.#failures = 0;
    this.#set(this.#wasLive ? { phase: "live", back: true, missed, lost } : { phase: "live" });
    this.#wasLive = true;
    this.#catchUp();
    this.onConnect(); // rights may have changed before the server knew this connection
  }

  /** Topics and states that were asked for while the connection came up. */
  #catchUp() {
    const states = [...this.#states].filter(([, watched]) => !watched.values && !watched.error).map(([state]) => state);
    const topics = [...this.#topics.keys()].filter((topic) => !this.#positions.has(topic));
    if (states.length) this.#watch(states);
    if (topics.length) this.#subscribe(topics);
  }

  async #subscribe(topics) {
    const after = Object.fromEntries(topics.filter((topic) => this.#positions.has(topic)).map((topic) => [topic, this.#positions.get(topic)]));
    const reply = await this.#request("subscribe", { topics, after }).catch(() => null);
    const lost = new Set(reply?.topics.filter(({ recovered }) => recovered === false).map(({ topic }) => topic));
    if (lost.size && this.#recovering) this.#recovering.lost = true;
    for (const { topic, epoch, offset } of reply?.topics ?? []) {
      const last = this.#positions.get(topic);
      if (!last || last.epoch !== epoch || last.offset < offset) this.#positions.set(topic, { epoch, offset });
    }
    const fresh = topics.filter((topic) => (!(topic in after) || lost.has(topic)) && this.#positions.get(topic)?.offset > 0);
    if (fresh.length) await this.#lookBack(fresh);
  }

  /** Subscribe to `topics` again, from some events ago: without `after`, the server sends what is new only. */
  async #lookBack(topics) {
    const after = Object.fromEntries(topics.map((topic) => {
      const { epoch, offset } = this.#positions.get(topic);
      return [topic, { epoch, offset: Math.max(0, offset - BACK) }];
    }));
    await this.#request("subscribe", { topics, after }).catch(() => null); // if the server has them no more, the new ones come
  }

  async #watch(states) {
    for (const state of states) { // one by one: a state that is refused leaves the others
      const watched = this.#states.get(state);
      if (!watched) continue;
      try {
        const reply = await this.#request("watch", { states: [state] });
        watched.values = new Map(Object.entries(reply.states[state]));
        watched.error = null;
      } catch (error) {
        watched.error = error.message;
      }
      this.#notify(state, {});
    }
  }

  #event(message) {
    this.#positions.set(message.topic, { epoch: message.epoch, offset: message.offset });
    if (this.#recovering) this.#recovering.missed += 1;
    for (const handler of this.#topics.get(message.topic) ?? []) handler(message.event, message.topic);
  }

  #change({ state, key, value }) {
    const values = this.#states.get(state)?.values;
    if (!values) return;
    if (value === null) values.delete(key);
    else values.set(key, value);
    this.#notify(state, {});
  }

  #notify(state, fields) {
    const watched = this.#states.get(state);
    if (!watched) return;
    Object.assign(watched, fields);
    for (const handler of watched.handlers) handler(watched.values, watched);
  }

  #closed(code) {
    this.#drop();
    if (this.#stopped) return;
    if (code === ACCESS_CHANGED || code === SESSION_ENDED || (code === BAD_KEY && this.#failures === 0)) {
      this.#wait();
      this.onAccess();
    } else if (code >= 4500 && code < 5000) {
      this.#end(SENTENCES[code] ?? `The realtime server closed the connection for good (${code}).`);
    } else {
      this.#wait();
    }
  }

  #end(sentence_) {
    this.#drop();
    this.#set({ phase: "ended", sentence: sentence_ });
  }

  #wait() {
    this.#drop();
    const seconds = Math.max(this.#retryAfterS, pauseAfter(this.#failures));
    this.#failures += 1;
    this.#retryAfterS = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), seconds * 1000);
    this.#set({ phase: "waiting", at: Date.now() + seconds * 1000 });
  }

  #expectWithin(seconds) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#wait(), seconds * 1000);
  }

  #drop() {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    this.#recovering = null;
    socket?.close();
    for (const { reject } of this.#pending.values()) reject(new Error("The connection was lost before the answer came. Look whether it was done before you try again."));
    this.#pending.clear();
  }
}

/** `text` as a sentence: with a capital letter, and a full stop. */
export function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
