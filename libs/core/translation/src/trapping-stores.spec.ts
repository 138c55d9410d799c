import { IDLE_TO_REVERT, TrappingStores, TRAPS_TO_ASK } from './trapping-stores.js';

const STORE = 0x10_2345;

function asked(): TrappingStores {
  const stores = new TrappingStores();
  for (let trap = 1; trap < TRAPS_TO_ASK; trap++) expect([trap, stores.trapped(STORE)]).toEqual([trap, false]);
  expect(stores.trapped(STORE)).toBe(true);
  return stores;
}

describe('stores that meet write traces', () => {
  it('ask after so many, and units before them end there', () => {
    const stores = asked();
    expect([stores.asks(STORE), stores.asks(STORE + 1)]).toEqual([true, false]);
    expect([stores.firstIn(STORE - 100, STORE + 100), stores.firstIn(STORE + 1, STORE + 100)]).toEqual([STORE, STORE + 100]);
  });

  it('are ordinary ones again when the callout has not been needed for long, and count anew', () => {
    const stores = asked();
    for (let idle = 0; idle < IDLE_TO_REVERT; idle++) expect(stores.ask(STORE)).toBe(true);
    stores.needed(STORE);
    for (let idle = 0; idle < IDLE_TO_REVERT; idle++) expect(stores.ask(STORE)).toBe(true);
    expect(stores.ask(STORE)).toBe(false);
    expect([stores.asks(STORE), stores.trapped(STORE)]).toEqual([false, false]);
  });

  it('are forgotten with their code', () => {
    const stores = asked();
    stores.trapped(STORE + 8);
    stores.forget(STORE - 1, STORE + 1);
    expect([stores.asks(STORE), stores.ask(STORE)]).toEqual([false, false]);
    for (let trap = 2; trap < TRAPS_TO_ASK; trap++) expect(stores.trapped(STORE + 8)).toBe(false);
    expect(stores.trapped(STORE + 8)).toBe(true);
  });

  it('are counted in bounded memory', () => {
    const stores = new TrappingStores();
    let asking = 0;
    for (let n = 0; n < 100_000; n++) if (stores.trapped(n)) asking++;
    expect(asking).toBe(0);
  });
});
