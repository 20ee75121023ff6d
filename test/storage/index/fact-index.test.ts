import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FactIndex } from '../../../src/storage/index/fact-index.ts';
import { openStoring } from '../storing.ts';

const FACTS = { diffId: 'sha256:1', bytes: 5 };

/** Notes in memory. */
function makeNotes() {
  const notes = new Map<string, string>();
  return {
    notes,
    readNote: async (name: string) => notes.get(name),
    writeNote: async (name: string, text: string) => void notes.set(name, text),
  };
}

describe('facts', () => {
  test('outlive the file and the process', async () => {
    await using storing = await openStoring();
    storing.store.facts.set('a', FACTS);
    await storing.reopen(1);
    assert.deepEqual(storing.store.facts.get('a'), FACTS);
    assert.equal(storing.store.facts.get('b'), undefined);
  });

  test('are kept by no store that keeps no file', async () => {
    await using storing = await openStoring({ maxBytes: 0 });
    storing.store.facts.set('a', FACTS);
    assert.equal(storing.store.facts.get('a'), undefined);
    await storing.reopen();
    assert.equal(storing.store.facts.get('a'), undefined);
  });

  test('are bounded, and those that were used least recently go first', async () => {
    const { notes, ...folder } = makeNotes();
    const index = await FactIndex.open({ isOn: true, notes: folder });
    const used = 'first';
    index.set(used, FACTS);
    for (let count = 0; count < 50_000; count += 1) {
      index.set(`key ${count}`, FACTS);
      index.get(used);
    }
    assert.deepEqual(index.get(used), FACTS);
    assert.equal(index.get('key 0'), undefined);
    assert.deepEqual(index.get('key 49999'), FACTS);
    await index.close();
    const [note = ''] = notes.values();
    assert.ok(note.length > 100_000 && note.length < 4_000_000, `${note.length} bytes`);
    const next = await FactIndex.open({ isOn: true, notes: folder });
    assert.deepEqual([next.get(used), next.get('key 0')], [FACTS, undefined]);
  });

  const damages: readonly [what: string, damage: (text: string) => string][] = [
    ['another byte', (text) => text.replace('sha256:1', 'sha256:2')],
    ['its end missing', (text) => text.slice(0, -1)],
    ['no bytes', () => ''],
    ['no checksum', (text) => text.slice(text.indexOf('\n') + 1)],
    ['bytes that are no text', () => '\0\xff\n\0'],
  ];
  for (const [what, damage] of damages) {
    test(`of a note with ${what} are not used`, async () => {
      await using storing = await openStoring();
      const path = join(storing.path, 'facts');
      storing.store.facts.set('a', FACTS);
      await storing.store.close();
      await writeFile(path, damage(await readFile(path, 'utf8')));
      await using next = await openStoring({ directory: storing.path });
      assert.equal(next.store.facts.get('a'), undefined);
      next.store.facts.set('a', FACTS);
      await next.reopen();
      assert.deepEqual(next.store.facts.get('a'), FACTS);
    });
  }

  test('that cannot be written cost nothing', async () => {
    const notes = {
      readNote: async () => undefined,
      writeNote: async () => {
        throw new Error('the disk is full');
      },
    };
    const index = await FactIndex.open({ isOn: true, notes });
    index.set('a', FACTS);
    await index.close();
    assert.deepEqual(index.get('a'), FACTS);
  });
});
