import type { Plugin } from 'esbuild';

/**
 * Takes `node:http` and `node:https` by `process.getBuiltinModule`. For an `import`, Node reads all exports of the module, and that of
 * `http.WebSocket` makes it load its client undici: 27 ms of the processor at each start.
 */
export const lazyHttp: Plugin = {
  name: 'lazy-http',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:https?$/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'getBuiltinModule', sideEffects: false } : undefined,
    );
    onLoad({ filter: /./, namespace: 'getBuiltinModule' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};
