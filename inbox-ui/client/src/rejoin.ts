/**
 * What becomes of a call whose connection dropped: go on with it, start a new one, or give up.
 *
 * Always holds: after a loss exactly one of resumption, restart and giving up follows, or `forget`.
 */

export interface RejoinEvents {
  /** Ask the server to go on with the call of this token. */
  resume(token: string): void;
  /** Start a new call: the server cannot resume, or would not. */
  restart(): void;
  giveUp(): void;
}

/** How long a lost call waits where the server has not said. */
const GIVE_UP_MS = 30_000;
/** A server that says nothing to a new connection, or to a wish to resume, for this long will not. */
const ANSWER_MS = 3_000;

export class Rejoin {
  readonly #events: RejoinEvents;
  #token: string | null = null;
  #withinMs = GIVE_UP_MS;
  /** `null` where no call is lost. */
  #stage: "offline" | "greeting" | "asked" | null = null;
  #giveUp: ReturnType<typeof setTimeout> | undefined;
  #answer: ReturnType<typeof setTimeout> | undefined;

  constructor(events: RejoinEvents) {
    this.#events = events;
  }

  /** Whether the lost call may go on, so that what is said meanwhile is worth keeping. */
  get resumable(): boolean {
    return this.#token !== null;
  }

  /** The running call can be resumed by this token. */
  started(token: string, withinMs: number): void {
    this.#token = token;
    this.#withinMs = withinMs;
  }

  lost(): void {
    clearTimeout(this.#answer);
    this.#stage = "offline";
    this.#giveUp ??= setTimeout(() => {
      this.forget();
      this.#events.giveUp();
    }, this.#withinMs);
  }

  /** A connection is open again; the server's welcome says whether it resumes calls. */
  opened(): void {
    if (this.#stage !== "offline") return;
    this.#stage = "greeting";
    this.#expectAnswer();
  }

  welcomed(resumes: boolean): void {
    if (this.#stage !== "greeting") return;
    if (!resumes || this.#token === null) {
      this.refused();
      return;
    }
    this.#stage = "asked";
    this.#expectAnswer();
    this.#events.resume(this.#token);
  }

  resumed(token: string, withinMs: number): void {
    this.#settle();
    this.started(token, withinMs);
  }

  /** The server does not go on with the call. */
  refused(): void {
    if (this.#stage === null) return;
    this.forget();
    this.#events.restart();
  }

  /** The call has ended. */
  forget(): void {
    this.#settle();
    this.#token = null;
    this.#withinMs = GIVE_UP_MS;
  }

  #settle(): void {
    clearTimeout(this.#giveUp);
    clearTimeout(this.#answer);
    this.#giveUp = undefined;
    this.#stage = null;
  }

  #expectAnswer(): void {
    clearTimeout(this.#answer);
    this.#answer = setTimeout(() => this.refused(), ANSWER_MS);
  }
}
