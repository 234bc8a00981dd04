package page

import (
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// wording has the texts of a page: title, message and button.
type wording struct{ title, message, button string }

// builtInTexts say what happened and what the user can do now.
var builtInTexts = map[Kind]wording{
	Confirm: {
		"Log in",
		"You are about to log in as {user}.",
		"Continue as {user}",
	},
	Switch: {
		"Switch to another account?",
		"You are logged in as {current}. This link is for {user}. If another person sent it to you, don't continue: you would work in their account.",
		"Continue as {user}",
	},
	Logout: {
		"Log out",
		"You will need a new link to get in again.",
		"Log out",
	},
	LoggedOut: {
		"You are logged out",
		"You can close this page.",
		"",
	},
	Missing: {
		"You need a link to get in",
		"This page opens with a personal link. Use the one that was sent to you, or ask for one.",
		"",
	},
	Malformed: {
		"This link is incomplete",
		"A part of it got lost on the way. Copy the whole link, or ask for a new one.",
		"",
	},
	Expired: {
		"This link has expired",
		"Links are valid for a limited time. Ask for a new one.",
		"",
	},
	Invalid: {
		"This link is not valid",
		"It may have been used or replaced already. Ask for a new one.",
		"",
	},
	Forbidden: {
		"You may not see this page",
		"You are {user}, and this page is for others. Ask whoever gave you access if you need it.",
		"",
	},
	Login: {
		"Log in",
		"Log in to go on.",
		"",
	},
	SecondFactor: {
		"A password isn't enough here",
		"You have set up a second factor, which can't be asked for here. Log in to the website instead, or use an access token if your program can.",
		"",
	},
	CrossSite: {
		"This request came from another site",
		"Your browser didn't say that a page of this site has sent it, so nothing was done. Open the page again and try once more.",
		"",
	},
	OtherLogin: {
		"Your login is not accepted here",
		"You are logged in, but in a way that this site doesn't accept. Logging in again won't help. Ask whoever runs the site.",
		"",
	},
	Unavailable: {
		"Please try again in a moment",
		"We can't check who you are right now. Nothing is wrong with your link.",
		"",
	},
	Limited: {
		"Too many attempts",
		"Too many links that aren't valid were opened from your network. Wait a moment, then open the newest link that you have.",
		"",
	},
}

// helpText is the text of the link to help_url, loginText of that to Django's page
// for logging in. ownerText names the user of an expired link.
const (
	helpText  = "Get a new link"
	ownerText = "It was for {user}."
	loginText = "Log in"
)

// setTexts replaces built-in texts with the operator's.
func (p *Pages) setTexts() error {
	p.texts = make(map[Kind]wording, len(builtInTexts))
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
		case "login":
			p.loginText = text
			continue
		}
		page, part, _ := strings.Cut(name, ".")
		texts, ok := p.texts[Kind(page)]
		switch {
		case ok && part == "title":
			texts.title = text
		case ok && part == "message":
			texts.message = text
		case ok && part == "button" && texts.button != "":
			texts.button = text
		default:
			return setting.Errorf("text "+name, "text %s: there is no such text; it must be like confirm.title, expired.message, logout.button, help, owner or login%s", name, nearest.Hint(name, textNames()))
		}
		p.texts[Kind(page)] = texts
	}
	return nil
}

// textNames are the names of all texts.
func textNames() []string {
	names := []string{"help", "owner", "login"}
	for kind, texts := range builtInTexts {
		names = append(names, string(kind)+".title", string(kind)+".message")
		if texts.button != "" {
			names = append(names, string(kind)+".button")
		}
	}
	return names
}
