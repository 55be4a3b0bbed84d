/** Typed events. A listener that throws does not keep the others from hearing. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<(data: never) => void>>();

  addEventListener<K extends keyof Events>(event: K, listener: (data: Events[K]) => void): void {
    const set = this.#listeners.get(event) ?? new Set();
    set.add(listener);
    this.#listeners.set(event, set);
  }

  removeEventListener<K extends keyof Events>(event: K, listener: (data: Events[K]) => void): void {
    this.#listeners.get(event)?.delete(listener);
  }

  protected emit<K extends keyof Events>(event: K, data: Events[K]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as (data: Events[K]) => void)(data);
      } catch (error) {
        // The page's own mistake: report it as the page's, outside of the call's own path.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
