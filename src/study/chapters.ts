/** The ten chapters, in the order in which they are read. */

export interface Chapter {
  title: string;
  question: string;
  /** Its file, and that of its exercises' solutions: both run when they are imported. */
  read(): Promise<unknown>;
  solve(): Promise<unknown>;
}

export const chapters: readonly Chapter[] = [
  {
    title: 'Pixels and patches',
    question: 'how does a picture become tokens?',
    read: () => import('./01-pixels-and-patches.ts'),
    solve: () => import('./solutions/01.ts'),
  },
  {
    title: 'One layer by hand',
    question: 'what does a layer of the tower do?',
    read: () => import('./02-one-layer.ts'),
    solve: () => import('./solutions/02.ts'),
  },
  {
    title: 'Where [CLS] looks',
    question: 'what does the tower itself find worth looking at?',
    read: () => import('./03-where-cls-looks.ts'),
    solve: () => import('./solutions/03.ts'),
  },
  {
    title: 'Why not trust one layer',
    question: 'which layer should one believe?',
    read: () => import('./04-why-not-trust-one-layer.ts'),
    solve: () => import('./solutions/04.ts'),
  },
  {
    title: 'One matrix',
    question: 'what do pruning and merging have in common?',
    read: () => import('./05-one-matrix.ts'),
    solve: () => import('./solutions/05.ts'),
  },
  {
    title: 'Projector and splice',
    question: 'how does the picture get into the prompt?',
    read: () => import('./06-projector-and-splice.ts'),
    solve: () => import('./solutions/06.ts'),
  },
  {
    title: 'Read, and cut between layers',
    question: 'what does the decoder do with the tokens?',
    read: () => import('./07-read-and-cut.ts'),
    solve: () => import('./solutions/07.ts'),
  },
  {
    title: 'Your own method',
    question: 'how does an idea become a measured figure?',
    read: () => import('./08-your-own-method.ts'),
    solve: () => import('./solutions/08.ts'),
  },
  {
    title: 'What it costs',
    question: 'how much does a visual token cost?',
    read: () => import('./09-what-it-costs.ts'),
    solve: () => import('./solutions/09.ts'),
  },
  {
    title: 'Does it work, and doubt',
    question: 'is the lost accuracy due to what was thrown away?',
    read: () => import('./10-does-it-work.ts'),
    solve: () => import('./solutions/10.ts'),
  },
];
