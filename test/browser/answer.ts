/** What the page and Node both do: one question about one picture, with every number that they are compared by. */
import {
  createTrace,
  findMethod,
  loadModel,
  readPreprocessConfig,
  readQuestion,
  runVlm,
  takePicture,
  type Folder,
  type Picture,
} from '../../src/index.ts';

export interface Answered {
  answer: string;
  kept: number[];
  /** Of the whole prompt, T × V. */
  logits: number[];
}

export async function answerQuestion(folder: Folder, picture: Picture, question: string): Promise<Answered> {
  const model = await loadModel(folder);
  const trace = createTrace((name) => name === 'decoder.logits');
  try {
    if (!model.llava) throw new Error(`${folder.name} is no LLaVA`);
    const { config } = model.llava;
    const S = config.vision.image_size;
    const { prompt, tokenizer } = await readQuestion(folder, config, question);
    const { pixels } = takePicture(picture, await readPreprocessConfig(folder, S), S);
    try {
      const { kept, tokens } = await runVlm(
        model.llava,
        { pixels, prompts: [prompt] },
        {
          method: findMethod('vtc-cls'),
          methodOptions: { layers: 3, ensemble: 'sum' },
          budget: 25,
          positions: 'contiguous',
          maxNewTokens: 5,
          stopTokens: model.stopTokens,
          trace,
        },
      );
      const logits = [...(await trace.tensors.get('decoder.logits')!.data())];
      return { answer: tokenizer.decode(tokens[0]).trim(), kept: kept![0], logits };
    } finally {
      pixels.dispose();
    }
  } finally {
    trace.dispose();
    model.dispose();
  }
}
