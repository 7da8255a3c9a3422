/** The question, and what is answered. */
import { useMemo } from 'preact/hooks';
import { askScene, choicesOf, questionTypes } from '../../world/questions.ts';
import { change, facts, photo, state, told, truth, uncut, unknown } from '../store.ts';
import { sceneOf } from '../state/state.ts';
import { percent } from './parts.tsx';
import { chanceOf, topWords } from './words.ts';

/** Words that are said to the model, not those that hold its prompt together. */
const words = facts.vocabulary.filter((word) => /^[a-z-]+$/.test(word));

/** Chosen by type, or typed. */
export function AskView() {
  const { question } = state.value;
  const { objects, ground } = state.value;
  const asked = useMemo(() => askScene(sceneOf({ objects, ground })), [objects, ground]);
  const begins = (text: string) => text.split(' ', 2).join(' '); // a type’s questions begin alike, others otherwise
  const type = asked.find((one) => begins(one.question) === begins(question))?.type ?? '';
  const last = /[a-z-]*$/.exec(question)![0];
  const begun = question.slice(0, question.length - last.length);
  return (
    <div class="ask">
      <p class="row">
        <label>
          A question of type{' '}
          <select
            value={type}
            onChange={(event) => {
              const found = asked.find((one) => one.type === event.currentTarget.value);
              if (found) change({ question: found.question });
            }}
          >
            <option value="">… or your own</option>
            {questionTypes
              .filter((name) => asked.some((one) => one.type === name))
              .map((name) => (
                <option value={name} selected={name === type}>
                  {name}
                </option>
              ))}
          </select>
        </label>
      </p>
      <label class="question">
        <span>The question</span>
        <input
          type="text"
          value={question}
          maxLength={200}
          list="vocabulary"
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => {
            const text = event.currentTarget.value;
            if (text.trim() !== '') change({ question: text });
          }}
        />
      </label>
      <datalist id="vocabulary">
        {words
          .filter((word) => last !== '' && word.startsWith(last) && word !== last)
          .map((word) => (
            <option value={begun + word} />
          ))}
      </datalist>
      {unknown.value.length > 0 && (
        <p class="note warn">
          The model does not know {unknown.value.map((word) => `“${word}”`).join(', ')}: it has {words.length}{' '}
          words in all, and reads each other as one sign for “unknown”.
        </p>
      )}
      <Answers />
    </div>
  );
}

/** Both answers, right or wrong, told to who listens. */
function Answers() {
  const said = told.value;
  const whole = uncut.value;
  const true_ = truth.value;
  const budget = state.value.U;
  const judge = (answer: string) =>
    'answer' in true_ ? (answer === true_.answer ? ' — right' : ' — wrong') : '';
  return (
    <div class="answers" aria-live="polite" aria-atomic="true">
      <p>
        <span class="who">
          With {budget} of {facts.patches} patches
        </span>
        <strong class="answer" data-answer="cut">
          {said ? `${said.answer || '…'}${judge(said.answer)}` : '…'}
        </strong>
        {said && <span class="how">{percent(chanceOf(said.logs, topWords(said.logs, 1)[0].word))} sure</span>}
      </p>
      <p>
        <span class="who">With all of them</span>
        <strong class="answer" data-answer="uncut">
          {whole ? `${whole.answer || '…'}${judge(whole.answer)}` : '…'}
        </strong>
        {whole && (
          <span class="how">{percent(chanceOf(whole.logs, topWords(whole.logs, 1)[0].word))} sure</span>
        )}
      </p>
      <p class="truth" data-truth>
        {'answer' in true_ ? (
          <>
            True, computed from the scene: <strong>{true_.answer}</strong>
          </>
        ) : (
          <>No true answer: {true_.none}.</>
        )}
        {!photo.value && 'answer' in true_ && kindOf(true_.answer)}
      </p>
    </div>
  );
}

/** Among how many answers of the kind it was chosen. */
function kindOf(answer: string) {
  const choices = Object.values(choicesOf).find((all) => all.includes(answer));
  return (
    choices && (
      <span class="how">
        {' '}
        (one of {choices.length} possible; at random {percent(1 / choices.length)} would be right)
      </span>
    )
  );
}
