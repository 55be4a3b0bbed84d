import { defineConfig } from "vitest/config";

// Real time, a real browser: one file after the other, and time enough for a call.
export default defineConfig({ test: { include: ["e2e/**/*.test.ts"], fileParallelism: false, testTimeout: 60_000, hookTimeout: 60_000 } });
