package peer

import (
	"context"
	"encoding/base64"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// startDjangoSession has every user go on with the cookie of a session that
// Django has stored.
func startDjangoSession(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	keys, err := s.Database.CreateSessions(ctx, s.SecretKey, s.Users)
	if err != nil {
		return nil, err
	}
	g, err := s.startSesame(ctx, p.Name, Table, "django_session", s.Users)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		g.Requests[i] = header("Cookie", "sessionid="+key)
	}
	return g, nil
}

// passwordTable is that of users whose password is known. It isn't the table of
// the others, whose tokens another password would end.
const passwordTable = "auth_user_password"

// startPassword has every user send a user name and password. All of them are
// checked once before the measurement.
func startPassword(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	if err := s.Database.CreateTable(ctx, passwordTable, len(s.Users)); err != nil {
		return nil, err
	}
	password, err := s.Database.SetPasswords(ctx, passwordTable)
	if err != nil {
		return nil, err
	}
	all, err := s.Database.Spread(ctx, passwordTable, s.SecretKey, len(s.Users), len(s.Users))
	if err != nil {
		return nil, err
	}
	g, err := s.startSesame(ctx, p.Name, passwordTable, "password {\n\t\t\tbasic\n\t\t}", all)
	if err != nil {
		return nil, err
	}
	g.Requests = make([]wrk.Request, len(all))
	for i, u := range all {
		g.Requests[i] = header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Name+":"+password)))
	}
	return g, nil
}
