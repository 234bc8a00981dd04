package e2e_test

import (
	"testing"

	"github.com/chromedp/cdproto/network"
)

// TestLoginPageIsReadableInEveryDirection looks at the login page on every screen, with
// an error beside a field, in English and in Arabic.
func TestLoginPageIsReadableInEveryDirection(t *testing.T) {
	g := startGateway(t, startUpstream(t), site{options: "session\npassword\nlogin {\npassword\nremember 30d\n}\npages {\nname \"Example archive\"\n}"})
	for language, want := range map[string]struct{ dir, title, wrong string }{
		"en": {"ltr", "Log in to Example archive", "Error: Log in to Example archive"},
		"ar": {"rtl", "تسجيل الدخول إلى \u2068Example archive\u2069", "خطأ: تسجيل الدخول إلى \u2068Example archive\u2069"},
	} {
		t.Run(language, func(t *testing.T) {
			b := newTab(t)
			b.expected = "status of 422"
			call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
			b.open(g.origin + "/_sesame/login")
			b.wantTitle(want.title)
			b.look("login-" + language)
			for expression, value := range map[string]string{
				`document.documentElement.lang`:                                                    language,
				`getComputedStyle(document.body).direction`:                                        want.dir,
				`document.querySelector("link[rel=icon]").href.startsWith(location.origin + "/_")`: "true",
				`[...document.querySelectorAll("input:not([type=hidden])")].every(e => e.labels.length === 1 && e.getBoundingClientRect().height >= 24)`: "true",
				`document.querySelector("[name=identifier]").autocomplete`:                                                                               "username",
				`document.querySelector("[name=password]").autocomplete`:                                                                                 "current-password",
			} {
				if got := b.text(expression); got != value {
					t.Errorf("%s is %s, want %s", expression, got, value)
				}
			}
			b.text(`(() => { const f = document.querySelector("form"); f.noValidate = true; f.querySelector("[name=identifier]").value = "alice"; return "" })()`)
			b.click("button")
			b.wantTitle(want.wrong)
			for expression, value := range map[string]string{
				`document.activeElement.name`: "password",
				`document.getElementById(document.activeElement.getAttribute("aria-describedby")).className`: "error",
				`document.activeElement.getAttribute("aria-invalid")`:                                        "true",
				`document.querySelector("[name=identifier]").value`:                                          "alice",
			} {
				if got := b.text(expression); got != value {
					t.Errorf("%s is %s, want %s", expression, got, value)
				}
			}
			b.look("login-error-" + language)
		})
	}
}
