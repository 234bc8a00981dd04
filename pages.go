package sesame

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// PagesConfig changes the pages of the gateway: the one with the button, the
// refusals, and logging out.
type PagesConfig struct {
	// Where people get a new link. Refusals link to it.
	HelpURL string `json:"help_url,omitempty"`

	// Whether an expired link that was once valid says for whom it was, and
	// takes that to `help_url`, signed, so that a new link can be sent at once.
	// Default: false.
	ExpiredHint bool `json:"expired_hint,omitempty"`

	// The language of the texts, for `<html lang>`. Default: `en`.
	Language string `json:"language,omitempty"`

	// Texts that replace the built-in ones, by page and part, such as
	// `confirm.title`, `confirm.message`, `confirm.button`, `expired.message`.
	// `{user}` and `{current}` in them stand for the names of users.
	Texts map[string]string `json:"texts,omitempty"`

	// Colours that replace the built-in ones: `accent`, `background` and
	// `text`, each for a light and, behind it, a dark screen.
	Colors map[string][]string `json:"colors,omitempty"`

	// A file with a template of your own (Go's html/template) for all of the
	// pages. It gets what the built-in one gets: Page, Title, Message, Button,
	// Action, HelpURL, HelpText, Language, Style.
	Template string `json:"template,omitempty"`
}

// pageKind says which page it is. It is also the first half of the names of
// its texts.
type pageKind string

// The pages. The refusals are named as token.Reason's public names.
const (
	pageConfirm     pageKind = "confirm"
	pageSwitch      pageKind = "switch"
	pageLogout      pageKind = "logout"
	pageLoggedOut   pageKind = "logged_out"
	pageMissing     pageKind = "missing"
	pageMalformed   pageKind = "malformed"
	pageExpired     pageKind = "expired"
	pageInvalid     pageKind = "invalid"
	pageForbidden   pageKind = "forbidden"
	pageLimited     pageKind = "limited"
	pageUnavailable pageKind = "unavailable"
)

// pageTexts are a page's texts: for its title, its message and its button.
type pageTexts struct{ title, message, button string }

// builtInTexts say what has happened and what to do now.
var builtInTexts = map[pageKind]pageTexts{
	pageConfirm: {
		"Log in",
		"You are about to log in as {user}.",
		"Continue as {user}",
	},
	pageSwitch: {
		"Switch to another account?",
		"You are logged in as {current}. This link is for {user}. If somebody else sent it to you, don't go on: you would work in their account.",
		"Continue as {user}",
	},
	pageLogout: {
		"Log out",
		"You will need a new link to get in again.",
		"Log out",
	},
	pageLoggedOut: {
		"You are logged out",
		"You can close this page.",
		"",
	},
	pageMissing: {
		"You need a link to get in",
		"This page opens with a personal link. Use the one that was sent to you, or ask for one.",
		"",
	},
	pageMalformed: {
		"This link is incomplete",
		"A part of it got lost on the way. Copy the whole link, or ask for a new one.",
		"",
	},
	pageExpired: {
		"This link has expired",
		"Links are valid for a limited time. Ask for a new one.",
		"",
	},
	pageInvalid: {
		"This link is not valid",
		"It may have been used or replaced already. Ask for a new one.",
		"",
	},
	pageForbidden: {
		"You may not see this page",
		"You are {user}, and this page is for others. Ask whoever gave you access if you need it.",
		"",
	},
	pageUnavailable: {
		"Please try again in a moment",
		"We can't check who you are right now. Nothing is wrong with your link.",
		"",
	},
	pageLimited: {
		"Too many attempts",
		"Too many links that aren't valid were opened from your network. Wait a moment, then open the newest link that you have.",
		"",
	},
}

// helpText is the text of the link to help_url, ownerText what an expired link
// says of whom it was for.
const (
	helpText  = "Get a new link"
	ownerText = "It was for {user}."
)

// pageData is what a page is about.
type pageData struct {
	Kind    pageKind
	Action  string // where the button leads
	User    string // who would be logged in
	Current string // who is
	HelpURL string // in the place of the configured one
}

// pageView is what a template gets.
type pageView struct {
	Page     pageKind
	Title    string
	Message  string
	Button   string
	Action   string
	HelpURL  string
	HelpText string
	Language string
	Style    template.CSS
}

// pages writes the pages of the gateway.
type pages struct {
	config    PagesConfig
	template  *template.Template
	texts     map[pageKind]pageTexts
	helpText  string
	ownerText string
	style     template.CSS
	policy    string // Content-Security-Policy
}

//go:embed pages/page.html
var builtInPage string

//go:embed pages/style.css
var builtInStyle string

func newPages(cfg *PagesConfig) (*pages, error) {
	p := &pages{helpText: helpText, ownerText: ownerText}
	if cfg != nil {
		p.config = *cfg
	}
	if p.config.Language == "" {
		p.config.Language = "en"
	}
	if err := p.setTexts(); err != nil {
		return nil, err
	}
	if err := p.setStyle(); err != nil {
		return nil, err
	}
	if err := checkHelpURL(p.config.HelpURL); err != nil {
		return nil, err
	}
	if p.config.ExpiredHint && (p.config.HelpURL == "" || strings.HasPrefix(p.config.HelpURL, "mailto:") || strings.Contains(p.config.HelpURL, "#")) {
		return nil, errors.New("pages: expired_hint needs a help_url that parameters can be added to")
	}
	return p, p.setTemplate()
}

// setTexts puts the operator's texts in the place of the built-in ones.
func (p *pages) setTexts() error {
	p.texts = make(map[pageKind]pageTexts, len(builtInTexts))
	for kind, texts := range builtInTexts {
		p.texts[kind] = texts
	}
	for name, text := range p.config.Texts {
		switch name {
		case "help":
			p.helpText = text
			continue
		case "owner":
			p.ownerText = text
			continue
		}
		page, part, _ := strings.Cut(name, ".")
		texts, ok := p.texts[pageKind(page)]
		switch {
		case ok && part == "title":
			texts.title = text
		case ok && part == "message":
			texts.message = text
		case ok && part == "button" && texts.button != "":
			texts.button = text
		default:
			return fmt.Errorf("pages: text %s: there is no such text; it must be like confirm.title, expired.message, logout.button, help or owner", name)
		}
		p.texts[pageKind(page)] = texts
	}
	return nil
}

// setStyle puts the operator's colours into the style, and allows that style
// and nothing else.
func (p *pages) setStyle() error {
	var light, dark strings.Builder
	for _, name := range []string{"accent", "background", "text"} {
		colors := p.config.Colors[name]
		if len(colors) > 2 {
			return fmt.Errorf("pages: color %s: a light and a dark one are enough", name)
		}
		for _, color := range colors {
			if !isColor(color) {
				return fmt.Errorf("pages: color %s: %q is not a colour such as #0a7f5a or teal", name, color)
			}
		}
		if len(colors) > 0 {
			fmt.Fprintf(&light, "--%s: %s; ", name, colors[0])
			fmt.Fprintf(&dark, "--%s: %s; ", name, colors[len(colors)-1])
		}
	}
	for name := range p.config.Colors {
		if name != "accent" && name != "background" && name != "text" {
			return fmt.Errorf("pages: color %s: it must be accent, background or text", name)
		}
	}
	style := builtInStyle
	if light.Len() > 0 {
		style += fmt.Sprintf(":root { %s}\n@media (prefers-color-scheme: dark) { :root { %s} }\n", light.String(), dark.String())
	}
	p.style = template.CSS(style) //nolint:gosec // ours, and colours that isColor has checked
	hash := sha256.Sum256([]byte(style))
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; frame-ancestors 'none'"
	return nil
}

// isColor reports whether s is a colour's name or its hexadecimal form.
func isColor(s string) bool {
	digits, isHexadecimal := strings.CutPrefix(s, "#")
	if isHexadecimal {
		_, err := strconv.ParseUint(digits, 16, 32)
		return err == nil && (len(digits) == 3 || len(digits) == 6)
	}
	isOther := func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') }
	return s != "" && !strings.ContainsFunc(s, isOther)
}

// checkHelpURL makes sure that help_url is a link and no script.
func checkHelpURL(helpURL string) error {
	parsed, err := url.Parse(helpURL)
	if err != nil || parsed.Scheme != "" && parsed.Scheme != "https" && parsed.Scheme != "http" && parsed.Scheme != "mailto" {
		return fmt.Errorf("pages: help_url %q: it must be an https: or mailto: URL, or a path", helpURL)
	}
	return nil
}

// setTemplate parses the operator's template, or ours.
func (p *pages) setTemplate() error {
	text := builtInPage
	if p.config.Template != "" {
		own, err := os.ReadFile(p.config.Template)
		if err != nil {
			return fmt.Errorf("pages: reading the template: %w", err)
		}
		text = string(own)
		// What their template needs isn't known; scripts and other sites it
		// can't have, since the page holds the token.
		p.policy = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
			"base-uri 'none'; frame-ancestors 'none'"
	}
	parsed, err := template.New("page").Parse(text)
	if err != nil {
		return fmt.Errorf("pages: template: %w", err)
	}
	p.template = parsed
	// Show each once, so that a mistake in it is found now.
	for kind := range p.texts {
		if err := parsed.Execute(new(bytes.Buffer), p.view(pageData{Kind: kind, Action: "/", User: "x", Current: "y"})); err != nil {
			return fmt.Errorf("pages: template: %w", err)
		}
	}
	return nil
}

// view fills in the texts.
func (p *pages) view(data pageData) pageView {
	names := strings.NewReplacer("{user}", data.User, "{current}", data.Current)
	texts := p.texts[data.Kind]
	view := pageView{
		Page:     data.Kind,
		Title:    names.Replace(texts.title),
		Message:  names.Replace(texts.message),
		Button:   names.Replace(texts.button),
		Action:   data.Action,
		Language: p.config.Language,
		Style:    p.style,
	}
	if data.Kind == pageExpired && data.User != "" {
		view.Message = names.Replace(p.ownerText) + " " + view.Message
	}
	switch data.Kind {
	case pageMissing, pageMalformed, pageExpired, pageInvalid:
		view.HelpURL, view.HelpText = p.config.HelpURL, p.helpText
		if data.HelpURL != "" {
			view.HelpURL = data.HelpURL
		}
	}
	return view
}

// write writes a page: JSON for whom prefers that to HTML, else HTML for whom
// accepts it, else text.
func (p *pages) write(w http.ResponseWriter, r *http.Request, status int, data pageData) error {
	view := p.view(data)
	header := w.Header()
	forbidLinking(header)
	header.Add("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	switch preferredType(r.Header["Accept"]) {
	case typeJSON:
		header.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		told := map[string]string{"error": string(data.Kind), "error_description": view.Title + ". " + view.Message}
		if status < http.StatusBadRequest {
			told = map[string]string{"page": string(data.Kind), "message": view.Title + ". " + view.Message}
		}
		return json.NewEncoder(w).Encode(told)
	case typeHTML:
		var page bytes.Buffer
		if err := p.template.Execute(&page, view); err != nil {
			return fmt.Errorf("writing the page %s: %w", data.Kind, err)
		}
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", p.policy)
		w.WriteHeader(status)
		_, err := page.WriteTo(w)
		return err
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, err := fmt.Fprintf(w, "%s. %s\n", view.Title, view.Message)
		return err
	}
}
