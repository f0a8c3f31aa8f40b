// The web server's JSON. Every failure becomes a Failure whose message is a sentence for people.

export class Failure extends Error {
  constructor(message, { code = "", status = 0 } = {}) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const SENTENCES = {
  0: "The server cannot be reached. Check that botctl runs and that you are online, then try again.",
  401: "You are not signed in any more.",
  429: "That was too often. Wait a moment, then try again.",
  503: "The server cannot do this at the moment. Try again in a few seconds.",
};

export class Api {
  /** `onSignedOut` is called when the server says that the session is over. */
  constructor(onSignedOut) {
    this.csrf = "";
    this.onSignedOut = onSignedOut;
  }

  get(path) {
    return this.#request(path, { method: "GET" });
  }

  post(path, body = {}) {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": this.csrf };
    return this.#request(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  async #request(path, options) {
    let response;
    try {
      response = await fetch(path, { credentials: "same-origin", redirect: "error", cache: "no-store", ...options });
    } catch {
      throw new Failure(SENTENCES[0], { code: "unreachable" });
    }
    if (response.status === 204) return null;
    const body = await response.json().catch(() => null);
    if (response.ok && body !== null) return body;
    if (response.status === 401) this.onSignedOut();
    const sentence = body?.message || SENTENCES[response.status] || `The server answered with ${response.status}. Its log says more.`;
    throw new Failure(sentence, { code: body?.error ?? "", status: response.status });
  }
}
