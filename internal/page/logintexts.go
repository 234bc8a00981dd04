package page

// loginTexts stand in the place of builtInTexts where users have passwords, API
// tokens or sessions of Django beside links.
var loginTexts = map[Kind]wording{
	Logout: {
		"Log out",
		"You will need to log in to get in again.",
		"Log out",
	},
	Missing: {
		"You need to log in",
		"This page is for users who are logged in. Log in, or use the link that was sent to you.",
		"",
	},
	Malformed: {
		"What you sent is incomplete",
		"A part of the link, token or password got lost on the way. Send the whole of it, or log in.",
		"",
	},
	Expired: {
		"Your access has expired",
		"Links and tokens are valid for a limited time. Log in, or ask for a new one.",
		"",
	},
	Invalid: {
		"What you sent is not valid",
		"The link, token or password is wrong, or no longer valid. Log in, or ask for a new one.",
		"",
	},
	Unavailable: {
		"Please try again in a moment",
		"We can't check who you are right now. Nothing is wrong with what you sent.",
		"",
	},
	Limited: {
		"Too many attempts",
		"Too many links, tokens or passwords that aren't valid came from your network. Wait a moment, then try again.",
		"",
	},
}

// SpeakOfLogins has the pages speak of logins, tokens and passwords beside links.
// Texts of the operator's stay. It must be called before a page is written.
func (p *Pages) SpeakOfLogins() {
	for kind, texts := range loginTexts {
		for part, text := range map[string]*string{"title": &texts.title, "message": &texts.message, "button": &texts.button} {
			if own, ok := p.config.Texts[string(kind)+"."+part]; ok {
				*text = own
			}
		}
		p.texts[kind] = texts
	}
}
