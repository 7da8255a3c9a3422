/** What the page and Node both do: one question about one picture, with every number that they are compared by. */
import {
  answer,
  createTrace,
  prepareAnswer,
  scope,
  findMethod,
  loadModel,
  readPreprocessConfig,
  readQuestion,
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
  using own = scope();
  const model = own(await loadModel(folder));
  const trace = own(createTrace((name) => name === 'decoder.logits'));
  if (!model.llava) throw new Error(`${folder.name} is no LLaVA`);
  const { config } = model.llava;
  const S = config.vision.image_size;
  const { prompt, tokenizer } = await readQuestion(folder, config, question);
  const { pixels } = takePicture(picture, await readPreprocessConfig(folder, S), S);
  own(pixels);
  const method = findMethod('vtc-cls');
  const decoding = { maxNewTokens: 5, stopTokens: model.stopTokens };
  const plan = prepareAnswer(
    config,
    { method, methodOptions: method.defaults, budget: 25 },
    [prompt],
    decoding,
  );
  const { kept, tokens } = await answer(model.llava, pixels, [prompt], plan, { ...decoding, trace });
  const logits = [...(await trace.tensors.get('decoder.logits')!.data())];
  return { answer: tokenizer.decode(tokens[0]).trim(), kept: kept![0], logits };
}
