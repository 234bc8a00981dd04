package sesame_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// wantAnswer fails the test unless an answer has the status and the fields; a text that
// ends with … is the beginning.
func wantAnswer(t *testing.T, status int, answer map[string]any, want int, fields map[string]any) {
	t.Helper()
	if status != want {
		t.Errorf("status %d, want %d: %v", status, want, answer)
	}
	for name, value := range fields {
		got := fmt.Sprint(answer[name])
		if start, isStart := strings.CutSuffix(fmt.Sprint(value), "…"); got != fmt.Sprint(value) && !(isStart && strings.HasPrefix(got, start)) {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// TestAdminEndpointEndsTokens ends tokens of the running gateway as the command does:
// one, and all of a user.
func TestAdminEndpointEndsTokens(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRevocations(t)
		const sites = "http://app.example.com:PORT {\nlog\nsesame {\nsecret_key SECRET\nmax_age 1h\nsession\nuserstore mysql {\ndsn DSN\nrevocations sesame_revocations\n}\n}\nrespond {http.auth.user.username}\n}\n"
		a := startAdmin(t, db, sites)
		hour, now := withMaxAge(time.Hour), time.Now()
		first, second := tokenAt(t, alice, "", now.Add(-time.Minute), hour), tokenAt(t, alice, "", now.Add(-2*time.Minute), hour)
		ask := func(want int, header ...string) {
			t.Helper()
			a.get(t, "/", append(header, "Host", "app.example.com")...).wantStatus(t, want)
		}
		cookie := sessionCookie(t, a.get(t, "/?sesame="+second, "Host", "app.example.com"))
		ask(http.StatusOK, bearer(first)...)

		status, answer := a.post(t, "/sesame/revoke", `{"token": "http://app.example.com/a?sesame=`+first+`&b=1"}`)
		wantAnswer(t, status, answer, http.StatusOK, map[string]any{"ended": true, "id": "1", "notes": "[Ended the token …", "error": "<nil>"})
		if fingerprint, _ := answer["token"].(string); len(fingerprint) != 20 {
			t.Errorf("the fingerprint is %q", fingerprint)
		}
		ask(http.StatusUnauthorized, bearer(first)...)
		ask(http.StatusOK, bearer(second)...)
		ask(http.StatusOK, "Cookie", cookie)

		status, answer = a.post(t, "/sesame/revoke", `{"user": "alice", "by": "username"}`)
		wantAnswer(t, status, answer, http.StatusOK, map[string]any{"ended": true, "id": "1", "token": "<nil>", "notes": "[Tokens and sessions of user 1 that began before …"})
		ask(http.StatusUnauthorized, bearer(second)...)
		ask(http.StatusUnauthorized, "Cookie", cookie)
		ask(http.StatusOK, bearer(tokenFor(t, carol, hour))...)

		status, answer = a.post(t, "/sesame/revoke", `{"token": "`+tokenAt(t, alice, "", now.Add(-2*time.Hour), hour)+`"}`)
		wantAnswer(t, status, answer, http.StatusOK, map[string]any{"ended": false, "notes": "[The token has expired…"})

		lines := a.awaitLines(t, "http.handlers.sesame.audit", 3) // the first is the login
		var messages []string
		for _, line := range lines[1:] {
			messages = append(messages, line["msg"].(string))
			if line["by"] != "admin endpoint" || line["remote_ip"] != "127.0.0.1" || line["user"] != "1" || line["host"] != "app.example.com" {
				t.Errorf("the audit log has %v", line)
			}
		}
		if want := []string{"token revoked", "tokens and sessions revoked"}; !slices.Equal(messages, want) {
			t.Errorf("the audit log has %q, want %q", messages, want)
		}
		if log := string(a.log(t)); strings.Contains(log, first) || strings.Contains(log, second) {
			t.Error("a token is in the log")
		}
	})
}

// TestAdminEndpointEndsSessions by their ID, and by a copy of the cookie.
func TestAdminEndpointEndsSessions(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, "http://:PORT {\nsesame {\nsecret_key SECRET\n"+listing+"\nuserstore mysql {\ndsn DSN\n}\n}\nrespond {http.auth.user.username}\n}\n")
		laptop, phone := newBrowser(a.gateway).logInAs(t, alice, firefoxOnLinux), newBrowser(a.gateway).logInAs(t, alice, safariOnPhone)
		list := laptop.listed(t)
		for range 2 {
			status, answer := a.post(t, "/sesame/revoke", `{"session": "`+list[1][0]+`"}`)
			if answer["ended"] == true {
				wantAnswer(t, status, answer, http.StatusOK, map[string]any{"id": "1", "session": list[1][0], "notes": "[Ended the session " + list[1][0] + `: of "alice" (primary key 1), Safari on iPhone…`})
				continue
			}
			wantAnswer(t, status, answer, http.StatusOK, map[string]any{"ended": false, "notes": "[No session in sesame_session has the ID " + list[1][0] + "…"})
		}
		phone.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		laptop.get(t, "/").wantStatus(t, http.StatusOK)
		cookie := laptop.cookies["sesame"]
		status, answer := a.post(t, "/sesame/revoke", `{"token": "`+cookie+`"}`)
		wantAnswer(t, status, answer, http.StatusOK, map[string]any{"ended": true, "session": list[0][0]})
		laptop.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		if strings.Contains(fmt.Sprint(answer)+string(a.log(t)), cookie) {
			t.Error("the cookie is shown")
		}
	})
}

// TestAdminEndpointSaysWhatItCanNotEnd, with the status of its kind.
func TestAdminEndpointSaysWhatItCanNotEnd(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		a := startAdmin(t, db, adminSite("app.example.com", "one_time\nsession"))
		valid := tokenFor(t, alice, oneTime)
		for name, test := range map[string]struct {
			body   string
			status int
			fields map[string]any
		}{
			"nothing":                {`{}`, 400, map[string]any{"error": "give the token to end…"}},
			"a token and a user":     {`{"token": "x", "user": "alice"}`, 400, map[string]any{"error": "give the token to end…"}},
			"no token":               {`{"token": "nonsense"}`, 400, map[string]any{"error": "that is no token of this handler…"}},
			"no ID":                  {`{"session": "1"}`, 400, map[string]any{"error": "session: that is no ID of a session…"}},
			"no such way to name":    {`{"user": "alice", "by": "name"}`, 400, map[string]any{"error": "by: …"}},
			"no such handler":        {`{"user": "alice", "handler": "b.example.com"}`, 400, nil},
			"an unknown field":       {`{"user": "alice", "all": true}`, 400, nil},
			"no such user":           {`{"user": "mallory"}`, 404, map[string]any{"error": "no such user"}},
			"no table":               {`{"token": "` + valid + `"}`, 409, map[string]any{"ended": false, "error": "userstore has no option revocations…"}},
			"no table of sessions":   {`{"session": "4s4v4hg6c6py6ag4nyq55xj6mu"}`, 409, map[string]any{"ended": false, "error": "session has no option table…"}},
			"a part of a user's all": {`{"user": "alice"}`, 409, map[string]any{"ended": true, "id": "1", "notes": "[Ended the one-time tokens of user 1…", "error": "not ended are sessions: …"}},
		} {
			t.Run(name, func(t *testing.T) {
				status, answer := a.post(t, "/sesame/revoke", test.body)
				wantAnswer(t, status, answer, test.status, test.fields)
			})
		}
		if strings.Contains(string(a.log(t)), valid) {
			t.Error("the token is in the log")
		}
	})
}
