package emaillink

import (
	"strings"
	"testing"
)

func TestBaseURLIsASiteThatBrowsersOpen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://app.example.com":            "https://app.example.com",
		"https://app.example.com:8443/wiki/": "https://app.example.com:8443/wiki",
		"https://bücher.example":             "https://xn--bcher-kva.example",
		"https://Bücher.example:8443/":       "https://xn--bcher-kva.example:8443",
		"https://my_app.example.com":         "https://my_app.example.com",
		"https://[2001:db8::1]:8443":         "https://[2001:db8::1]:8443",
		"http://localhost:8080":              "http://localhost:8080",
		"http://[::1]:8080":                  "http://[::1]:8080",
	} {
		if got, err := parseBaseURL(text); err != nil || got != want {
			t.Errorf("base_url %s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                               "base_url is missing",
		"app.example.com":                "no such address",
		"https://":                       "no such address",
		"https://:443":                   "no such address",
		"https://[]":                     "no such address",
		"https://app.example.com:99999":  "no such address",
		"https://[fe80::1%25eth0]":       "no such address",
		"http://[::1%25lo]:8080":         "no such address",
		"https://app.example.com\r\n":    "no such address",
		"https://app%20.example.com":     "no such address",
		"https://app\".example.com":      "no such address",
		"ftp://app.example.com":          "no such address",
		"https://user@app.example.com":   "a path at most",
		"https://app.example.com/?a=b":   "a path at most",
		"https://app.example.com/#login": "a path at most",
		"http://app.example.com":         "write https",
	} {
		if got, err := parseBaseURL(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("base_url %q: %q, %v, want %q in the error", text, got, err, want)
		}
	}
}
