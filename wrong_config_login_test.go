package sesame

import "testing"

func TestTokensInParametersOfTheLoginPageAreRejected(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"next", "switch", "resend", "via", "browser", "length"} {
		wantWrong(t, []wrongConfig{{
			options: "token_name " + name + "\nsession\npassword\nlogin {\npassword\n}", line: 3,
			want: "token_name " + name + ": the login page has a parameter of that name: choose another",
		}})
	}
}

func TestWrongLengthOfRememberedSessionsNamesTheOthers(t *testing.T) {
	t.Parallel()
	wantWrong(t, []wrongConfig{
		{options: "login {\npassword\nremember 12h\n}", line: 5, want: "login: remember 12h0m0s: it must be more than max_age of session (12h0m0s), or users who are remembered would be logged out earlier than others"},
		{options: "session {\nmax_age 30d\n}\nlogin {\npassword\nremember 7d\n}", line: 8, want: "login: remember 168h0m0s: it must be more than max_age of session (720h0m0s), or users who are remembered would be logged out earlier than others"},
		{options: "login {\npassword\nremember 500d\n}", line: 5, want: "login: remember 12000h0m0s: browsers keep cookies for 400 days (9600h) at most"},
		{options: "django_session {\nwrite on\n}\nlogin {\npassword\nremember 14d\n}", line: 8, want: "login: remember 336h0m0s: it must be more than cookie_age of django_session (336h0m0s), or users who are remembered would be logged out earlier than others"},
		{options: "django_session {\nwrite on\nengine signed_cookies\n}\nlogin {\npassword\nremember 30d\n}", line: 9, want: "login: remember: with engine signed_cookies, Django ends every session after cookie_age: remove the line, or set cookie_age"},
	})
}

func TestWrongSecondFactorOfLinksNamesTheRightOnes(t *testing.T) {
	t.Parallel()
	const link = "smtp smtps://localhost\nfrom a@example.com\nbase_url https://app.example.com\n"
	wantWrong(t, []wrongConfig{
		{options: "login {\nemail_link {\n" + link + "second_factor maybe\n}\n}", line: 8, want: `login: email_link: second_factor "maybe": it must be ask, reject or ignore`},
		{options: "password {\nsecond_factor ask\n}", line: 4, want: "password: second_factor ask: only the login page can ask for a code: add login, or remove second_factor"},
		{options: "password {\nsecond_factor ignore\nsecond_factor_tables devices\n}", line: 5, want: "password: second_factor_tables has no effect with second_factor ignore: remove one of the two"},
		{options: "password {\nsecond_factor ignore\nsecond_factor_tables devices\n}\nlogin {\nemail_link {\n" + link + "}\n}", line: 5, want: "password: second_factor_tables has no effect with second_factor ignore: remove one of the two"},
	})
}
