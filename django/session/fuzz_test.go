package session

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/signing"
)

// FuzzParse signs any text as a session. It must be read as encoding/json reads it,
// and survive a login.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":"h","x":[1.5e-3,NaN,{"a":null}]}`,
		`{"_auth_user_id":42}`, `{"\u005fauth_user_id":"\ud83d\ude00"}`, "{\"a\":\"\xe4\"} ", `{"a":1}{`, `[]`, `{"_session_expiry":1}`,
		`{"_session_expiry":true}`, `{"_session_expiry":0.0}`, `{"_session_expiry":-1.5e0}`, `{"_session_expiry":1e400}`, `{"_session_expiry":[]}`, `{"_session_expiry":[1]}`,
		`{"_session_expiry":"2023-11-14T22:13:20.5+00:00"}`, `{"_session_expiry":"2023-11-14T22:13:20"}`, `{"_session_expiry":"soon"}`,
		`{"_auth_user_id":"7","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"","_session_expiry":60}`,
		`{"_auth_user_id":null}`, `{"_auth_user_id":4.2}`, `{"_auth_user_id":-7}`, `{"_auth_user_id":[7]}`, `{"_auth_user_id":{}}`, `{"_auth_user_id":"7","_auth_user_backend":1,"_auth_user_hash":2}`,
	} {
		f.Add(seed)
	}
	sessions, err := New(Settings{SecretKey: "key"})
	if err != nil {
		f.Fatal(err)
	}
	signer, err := signing.NewTimestamp(signing.Settings{SecretKey: "key", Salt: rowSalt})
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, text string) {
		row := Row{SessionData: signer.Dumps([]byte(text), true, now), ExpireDate: now.Add(1)}
		parsed, err := sessions.ParseRow(row, now)
		checkAgainstJSON(t, text, parsed, err)
		if err == Malformed {
			return
		}
		if _, err := sessions.ExpireDate(parsed.Data(), now); err != nil && err != ErrExpiry {
			t.Error(err)
		}
		data, _ := sessions.Login(parsed.Data(), "7", ModelBackend, User{IsActive: true})
		row.SessionData = sessions.Encode(data, now)
		again, err := sessions.ParseRow(row, now)
		if err != nil || again.UserID() != "7" {
			t.Fatalf("%q became %q: %v", text, data.JSON(), err)
		}
		if _, err := sessions.Verify(&again, User{IsActive: true}); err != nil {
			t.Error(err)
		}
	})
}

// checkAgainstJSON compares with encoding/json, for texts in ASCII: that reads
// UTF-8, no NaN, and other escapes of halves of surrogate pairs.
func checkAgainstJSON(t *testing.T, text string, parsed Parsed, err error) {
	t.Helper()
	var object map[string]json.RawMessage
	for i := range len(text) {
		if text[i] >= 0x80 {
			return
		}
	}
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return
	}
	id, isThere := object[userIDName]
	var want string
	isText := isThere && json.Unmarshal(id, &want) == nil
	if isText && !strings.Contains(want, "\ufffd") && parsed.Data().UserID != want {
		t.Errorf("%q: user %q, %v; encoding/json reads %q", text, parsed.Data().UserID, err, want)
	}
	if !isThere && err != Anonymous {
		t.Errorf("%q: %v", text, err)
	}
}
