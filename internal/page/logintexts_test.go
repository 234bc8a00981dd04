package page

import (
	"os"
	"strings"
	"testing"
)

// TestPagesSpeakOfLogins: where there is more than links, no page speaks of links
// alone, and the operator's texts stay.
func TestPagesSpeakOfLogins(t *testing.T) {
	t.Parallel()
	const own = "Your VPN is off"
	p, err := New(&Config{Texts: map[string]string{"missing.title": own}})
	if err != nil {
		t.Fatal(err)
	}
	p.SpeakOfLogins()
	if got := p.texts[Missing]; got.title != own || got.message != loginTexts[Missing].message {
		t.Errorf("the page for a request without credentials says %q", got)
	}
	for kind, texts := range loginTexts {
		if kind == Missing {
			continue
		}
		if p.texts[kind] != texts {
			t.Errorf("%s says %q", kind, p.texts[kind])
		}
		if hasButton := builtInTexts[kind].button != ""; hasButton != (texts.button != "") {
			t.Errorf("%s: a button, and a text for it, go together", kind)
		}
	}
	if p.texts[Confirm] != builtInTexts[Confirm] {
		t.Errorf("the page about a link says %q", p.texts[Confirm])
	}
}

// TestLoginTitlesAreInTroubleshooting looks for the titles in the guide.
func TestLoginTitlesAreInTroubleshooting(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, texts := range loginTexts {
		if !strings.Contains(string(guide), texts.title) {
			t.Errorf("docs/troubleshooting.md doesn't name %q, the title of %s", texts.title, kind)
		}
	}
}
