"""The page as a person sees it and uses it."""

import re

from playwright.sync_api import Locator, Page, expect

TEXT = """[...document.querySelectorAll('#text > p')].map((p, index) =>
  (index === 0 || p.classList.contains('joins') ? '' : '\\n') + p.textContent).join('')"""
SETTLED = f"(text) => {TEXT} === text"
SHOWN = "(selector) => document.querySelector(selector)?.checkVisibility() ?? false"
PAINTED = """name => {
  const texts = [...(CSS.highlights.get(name) ?? [])].map((painted) => {
    const range = new Range();
    range.setStart(painted.startContainer, painted.startOffset);
    range.setEnd(painted.endContainer, painted.endOffset);
    const before = new Range();
    before.setStart(document.querySelector('#text'), 0);
    before.setEnd(painted.startContainer, painted.startOffset);
    return [before.toString().length, range.toString()];
  });
  return texts.sort((a, b) => a[0] - b[0]).map(([, text]) => text);
}"""
PASTE = """text => {
  const clipboardData = new DataTransfer();
  clipboardData.setData('text/plain', text);
  clipboardData.setData('text/html', '<b>bold</b><script>window.bad = 1</script>');
  const event = new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true});
  document.querySelector('#text').dispatchEvent(event);
}"""
# A transaction over all stores is answered when those before it are done; the journal begins its
# next one, with all that came up meanwhile, only after the one it is at: so twice.
SAVED = """async () => {
  for (const round of [1, 2]) {
    await new Promise((resolve) => setTimeout(() => {
      indexedDB.open('continuo').onsuccess = ({target: {result}}) => {
        const done = result.transaction([...result.objectStoreNames], 'readwrite');
        done.oncomplete = () => { result.close(); resolve(); };
      };
    }));
  }
}"""


class Desk:
    """What a person sees and does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.go = page.locator("#go")
        self.status = page.locator("#status")

    def ready(self) -> "Desk":
        expect(self.page.locator("#knob-temperature")).to_be_attached()
        return self

    @property
    def text(self) -> str:
        return self.page.evaluate(f"() => {TEXT}")

    def painted(self, layer: str = "machine") -> list[str]:
        """The texts that are shown in one of the page's colours."""
        return self.page.evaluate(PAINTED, layer)

    def type(self, text: str) -> "Desk":
        self.page.keyboard.type(text)
        return self

    def press(self, *keys: str) -> "Desk":
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def paste(self, text: str) -> "Desk":
        """A text that comes from another program."""
        self.page.evaluate(PASTE, text)
        return self

    def wait_for_text(self, text: str) -> "Desk":
        self.page.wait_for_function(f"text => {TEXT}.includes(text)", arg=text)
        return self

    def wait_for_other_text(self, text: str) -> "Desk":
        self.page.wait_for_function(f"text => {TEXT} !== text", arg=text)
        return self

    def wait_for_tokens(self, count: int) -> "Desk":
        """Until so many have come and no more."""
        expect(self.status).to_have_text(re.compile(rf"^{count} tokens"))
        return self

    def idle(self) -> "Desk":
        """Until nothing is being written."""
        expect(self.go).to_have_attribute("data-do", "continue")
        return self

    def continue_(self) -> "Desk":
        """Let the machine write, to its end."""
        self.status.evaluate("status => { status.textContent = '' }")
        self.press("Control+Enter")
        expect(self.status).to_contain_text("per second")
        return self.idle()

    def length(self, tokens: int) -> "Desk":
        """Ask for so many tokens from now on."""
        self.page.fill("#knob-max_tokens", str(tokens))
        self.page.locator("#text").focus()
        return self

    def saved(self) -> "Desk":
        """Until the journal has everything: what is asked after it is answered after it."""
        self.page.evaluate(SAVED)
        return self

    def notice(self, name: str) -> Locator:
        return self.page.locator(f'[data-notice="{name}"]')
