import { defineConfig } from "vitest/config";

// Real time, a real server, a real browser: one file after the other, and time enough for calls.
export default defineConfig({ test: { include: ["test/**/*.test.ts"], fileParallelism: false, testTimeout: 120_000, hookTimeout: 60_000 } });
