/*
 * Draws the Mermaid diagrams of a page in the colours of its scheme, and again when a reader changes the scheme. The program lies
 * beside this file and is loaded only by pages with diagrams. Without scripts, a reader sees the source of a diagram.
 */
(() => {
  /** The smallest scale of a diagram. */
  const SMALLEST = 0.7;

  const blocks = [...document.querySelectorAll('pre.diagram')].map((element) => ({
    element,
    source: element.textContent,
  }));
  if (blocks.length === 0) return;

  const scheme = () => document.body.getAttribute('data-md-color-scheme');

  const draw = async () => {
    const isDark = scheme() === 'slate';
    window.mermaid.initialize({
      startOnLoad: false,
      securityLevel: 'strict',
      theme: isDark ? 'dark' : 'default',
      // The theme's own background of labels leaves their text a contrast below 4.5.
      themeVariables: isDark ? { edgeLabelBackground: '#3a3c4a' } : {},
      flowchart: { nodeSpacing: 30, rankSpacing: 40 },
      sequence: { wrap: true, width: 130, actorMargin: 20, messageFontSize: 14, noteFontSize: 14 },
      fontFamily: getComputedStyle(document.body).fontFamily,
    });
    for (const [index, { element, source }] of blocks.entries()) {
      try {
        const { svg } = await window.mermaid.render(`diagram-${index}`, source);
        const figure = document.createElement('div');
        figure.className = 'diagram';
        // So that the keys can scroll it.
        figure.tabIndex = 0;
        figure.innerHTML = svg;
        // A diagram shrinks to the width of the page as long as its text can be read; then it scrolls.
        const picture = figure.querySelector('svg');
        picture.style.minWidth = `${picture.viewBox.baseVal.width * SMALLEST}px`;
        blocks[index].element.replaceWith(figure);
        blocks[index].element = figure;
      } catch (error) {
        element.dataset.error = String(error);
      }
    }
  };

  const program = document.createElement('script');
  program.src = new URL('mermaid.min.js', document.currentScript.src).href;
  program.addEventListener('load', async () => {
    await draw();
    let drawn = scheme();
    new MutationObserver(async () => {
      if (scheme() === drawn) return;
      drawn = scheme();
      await draw();
    }).observe(document.body, { attributes: true, attributeFilter: ['data-md-color-scheme'] });
  });
  document.head.append(program);
})();
