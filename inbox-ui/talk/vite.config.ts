import { defineConfig } from "vite";

// The server hands out `dist/index.html` at `/talk/{agent}`, `dist/signin.html` at `/signin`, and the rest
// of `dist` below `/talk/`.
export default defineConfig({
  base: "/talk/",
  build: {
    target: "es2022",
    // Nothing inline: the page's content security policy allows files from its own origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { talk: "index.html", signin: "signin.html" },
      output: { entryFileNames: "assets/[name]-[hash].js", chunkFileNames: "assets/[name]-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" },
    },
  },
});
