/** When it fails: said, and shown where it can be. */
import { cachedStates, showCached } from '../store.ts';
import { Section } from './parts.tsx';

export function FailView() {
  return (
    <Section id="fail" title="7 · When it fails">
      <p>
        What was thrown away cannot be asked for, but for the little of it that kept tokens have gathered from
        their neighbours. [CLS] has looked before there was a question, at what the encoder was once taught to
        sum up; if the question is about something else, its patches are gone.
      </p>
      <ul>
        <li>
          <b>Too few patches.</b> The thing that is asked for scored too low for the places that there are.{' '}
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
          <b>Things that nobody taught it to see.</b> The encoder learned from pictures with captions (pruning
          needs no training of its own; the encoder had its, long before). Another encoder of ours, not the
          one in this page, learned from captions that named large things alone: its [CLS] passes small ones
          over. With 13 patches it is right on 87.6 % of the questions about small shapes, with all of them on
          99.6 % (weights/README.md). A photograph is such a case for the model of this page: try one above.
        </li>
        <li>
          <b>Patches of nothing that draw attention.</b> Large encoders have “sinks”: patches without content
          whose tokens are made of unusually large numbers and draw attention from all sides (Darcet et al.,
          arXiv 2309.16588). They take places. The third choice in section 2 shows how large the tokens are,
          here and for your own pictures.
        </li>
      </ul>
      <p>And it never saves the looking itself.</p>
    </Section>
  );
}
