/**
 * Notices a connection that is open in name only.
 *
 * Asks the server for a sign of life at intervals; anything that arrives counts as one. In a call the
 * answer must come soon, because only then can the call be resumed in time.
 */

export interface KeepaliveEvents {
  ping(id: number): void;
  /** Time from a ping to its answer, in milliseconds. */
  roundTrip(milliseconds: number): void;
  /** Nothing has come for too long. */
  dead(): void;
}

const CALM = { everyMs: 20_000, deadAfterMs: 50_000 };
const IN_CALL = { everyMs: 2_500, deadAfterMs: 7_000 };

export class Keepalive {
  readonly #events: KeepaliveEvents;
  #timer: ReturnType<typeof setInterval> | undefined;
  #inCall = false;
  #lastHeard = 0;
  #id = 0;
  #sentAt = new Map<number, number>();

  constructor(events: KeepaliveEvents) {
    this.#events = events;
  }

  /** Starts, or goes on at the other pace. */
  start(inCall: boolean): void {
    if (this.#timer !== undefined && this.#inCall === inCall) return;
    this.stop();
    this.#inCall = inCall;
    this.#lastHeard = performance.now();
    this.#timer = setInterval(() => this.#beat(), this.#pace.everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#sentAt.clear();
  }

  /** Something arrived. */
  heard(): void {
    this.#lastHeard = performance.now();
  }

  pong(id: number): void {
    const sentAt = this.#sentAt.get(id);
    if (sentAt === undefined) return;
    this.#sentAt.delete(id);
    this.#events.roundTrip(performance.now() - sentAt);
  }

  get #pace() {
    return this.#inCall ? IN_CALL : CALM;
  }

  #beat(): void {
    const now = performance.now();
    if (now - this.#lastHeard >= this.#pace.deadAfterMs) {
      this.stop();
      this.#events.dead();
      return;
    }
    const id = ++this.#id;
    this.#sentAt.set(id, now);
    // An answer that has not come within ten beats is no measurement any more.
    this.#sentAt.delete(id - 10);
    this.#events.ping(id);
  }
}
