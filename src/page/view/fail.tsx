/** When it fails: said, and shown. */
import { cachedStates, facts, showCached } from '../store.ts';
import { Section } from './parts.tsx';

export function FailView() {
  return (
    <Section id="fail" title="10 · When it fails">
      <p>
        What was thrown away cannot be asked for. [CLS] looks once, before any question, at what the encoder
        was taught to sum up; if the question is about something else, its patches are gone. Three ways to see
        it here:
      </p>
      <ul>
        <li>
          <b>Keep too little.</b> On 5,250 questions about scenes that this model had never seen it is right
          on 98.9 % with all {facts.patches} patches, on 96.9 % with 25 chosen by VTC-CLS and on 94.9 % with
          13; with 25 drawn by chance on 51.0 % (the table in this project’s README, with how it was
          measured).{' '}
          {cachedStates.map(
            ({ title, fails }, i) =>
              fails && (
                <button type="button" onClick={() => showCached(i)}>
                  show me: {title}
                </button>
              ),
          )}
        </li>
        <li>
          <b>Look where nobody was taught to look.</b> An encoder whose captions named large things only has a
          [CLS] that passes small ones over: with 13 patches it was right on 87.6 % of the questions about
          small shapes (weights/README.md). Photographs are such a case for this model.
        </li>
        <li>
          <b>Make noise louder than things.</b> Large encoders keep “sinks”, patches of no content that draw
          attention. The feature norms in section 2 show them where there are any.
        </li>
      </ul>
      <p>
        And it never saves the looking itself: the encoder runs over the whole picture before anything can be
        dropped.
      </p>
    </Section>
  );
}
