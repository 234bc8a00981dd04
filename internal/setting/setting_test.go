package setting

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorsSayWhichSettingIsWrong(t *testing.T) {
	t.Parallel()
	cause := errors.New("too long")
	for _, test := range []struct {
		err           error
		option, words string
	}{
		{Errorf("max_age", "max_age %d: %w", 5, cause), "max_age", "max_age 5: too long"},
		{In("session", Errorf("idle", "idle is %w", cause)), "session: idle", "session: idle is too long"},
		{In("session", cause), "session", "session: too long"},
		{In("a", In("b", Errorf("c", "c: %w", cause))), "a: b: c", "a: b: c: too long"},
		{In("userstore", fmt.Errorf("checking: %w", Elsewhere("api_token: drf: table", cause))), "api_token: drf: table", "userstore: checking: api_token: drf: table: too long"},
		{In("userstore", Elsewhere("session: table", Errorf("dsn", "the dsn is %w", cause))), "userstore: dsn", "userstore: session: table: the dsn is too long"},
		{Of("token_from", cause), "token_from", "too long"},
		{Of("dsn", Errorf("table", "table: %w", cause)), "table", "table: too long"},
	} {
		about, ok := errors.AsType[*Error](test.err)
		if !ok || about.Option() != test.option || test.err.Error() != test.words || !errors.Is(test.err, cause) {
			t.Errorf("%v: about %q, want %q about %q, and its cause", test.err, about.Option(), test.words, test.option)
		}
	}
	if In("session", nil) != nil || Of("x", nil) != nil {
		t.Error("no error became one")
	}
}
