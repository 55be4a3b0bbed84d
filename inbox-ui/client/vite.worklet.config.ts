// The capture processor as one file without imports, so that any server and any bundler can hand it out as it is.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: "src/capture-worklet.ts", formats: ["es"], fileName: () => "capture-worklet.js" },
  },
});
