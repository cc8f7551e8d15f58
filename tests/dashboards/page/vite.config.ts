import { defineConfig } from "vite";

export default defineConfig({
  build: { minify: false, chunkSizeWarningLimit: 20_000, target: "es2022" },
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
});
