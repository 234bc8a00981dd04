package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/device"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// SessionList is the table that the gateway's own sessions are in. The cookie of a
// session has the ID of its row, which is read with the user: without the row, the
// session has ended, and so has every copy of the cookie.
type SessionList struct {
	env     *Environment
	table   string
	via     *userstore.Via
	touches touches
}

// NewSessionList returns the list that is in a table.
func NewSessionList(table string, env *Environment) *SessionList {
	l := &SessionList{env: env, table: table, via: userstore.SessionListVia(table)}
	l.touches.limit = make(chan struct{}, maxTouches)
	return l
}

// AddNeeds adds what the list needs from the store.
func (l *SessionList) AddNeeds(needs *userstore.Needs) {
	needs.SessionList = l.table
	needs.Vias = append(needs.Vias, l.via)
}

// Mark tells a session from others in this process.
func (l *SessionList) Mark(id session.ID) string { return l.table + "\x00" + id.String() }

// seenEvery is how often the use of a session is noted. It tells a device in use from
// one that was forgotten, and isn't worth a write with each request.
const seenEvery = time.Hour

// expires returns when the row of a session that is in use now is no longer needed.
func expires(settings session.Settings, length session.Length, issued, now time.Time) time.Time {
	maxAge, idle := settings.Limits(length)
	end := issued.Add(maxAge)
	if unused := now.Add(idle + seenEvery); idle != 0 && unused.Before(end) {
		return unused
	}
	return end
}

// Begin writes the row of a session that a login begins, and deletes those of the
// sessions that the browser had. The error says why the store has no answer.
func (l *SessionList) Begin(r *http.Request, user *userstore.User, login session.Login, site string, settings session.Settings, had Sent) error {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	row := userstore.ListedSession{
		ID: login.ID.String(), Created: login.Time, Seen: login.Time, Expires: expires(settings, login.Length, login.Time, login.Time),
		Browser: device.Browser(r.UserAgent()), Platform: device.Platform(r.UserAgent()), Address: device.Network(client), Site: site,
	}
	if err := l.env.Store().BeginSession(r.Context(), user, row, had.listed()); err != nil {
		return err
	}
	l.beside(r, userstore.ByPrimaryKey(user.PrimaryKey), func(ctx context.Context) {
		err := l.env.Store().TidySessions(ctx, user, login.Time)
		if err != nil && l.touches.mayTell(login.Time) {
			l.env.Logger.Warn("expired sessions could not be deleted", zap.Error(err))
		}
	})
	return nil
}

// See notes that a session is in use, beside the request, where that is due.
func (l *SessionList) See(r *http.Request, user *userstore.User, parsed *session.Parsed, settings session.Settings) {
	now := l.env.Now()
	seen, ok := user.SessionSeen()
	if !ok || parsed.ID().IsZero() || now.Sub(seen) < seenEvery {
		return
	}
	row := userstore.ListedSession{ID: parsed.ID().String(), Seen: now, Expires: expires(settings, parsed.Length(), parsed.Issued(), now)}
	l.beside(r, l.via.Key(row.ID), func(ctx context.Context) {
		err := l.env.Store().SeeSession(ctx, row, now.Add(-seenEvery/2))
		if err != nil && l.touches.mayTell(now) {
			l.env.Logger.Warn("the use of a session could not be noted", zap.Error(err))
		}
	})
}

// beside writes beside a request, unless the same is being written, or much else is.
func (l *SessionList) beside(r *http.Request, key userstore.Key, write func(context.Context)) {
	if !l.touches.begin(key) {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	go func() {
		defer l.touches.done(key)
		write(ctx)
	}()
}

// End deletes the rows of sessions that a browser had. The error says why the store
// has no answer: then they may go on.
func (l *SessionList) End(ctx context.Context, had Sent) error {
	_, err := l.env.Store().EndSessions(ctx, had.listed())
	return err
}

// Of returns the sessions of a user, those that were used last first.
func (l *SessionList) Of(ctx context.Context, user *userstore.User) ([]userstore.ListedSession, error) {
	return l.env.Store().SessionsOf(ctx, user, l.env.Now())
}

// EndOne ends a session of a user by its ID. isEnded is false if the user had none.
func (l *SessionList) EndOne(ctx context.Context, user *userstore.User, id session.ID) (isEnded bool, err error) {
	return l.env.Store().EndSessionOf(ctx, user, id.String())
}

// EndOthers ends the sessions of a user but one, whose ID is zero for none.
func (l *SessionList) EndOthers(ctx context.Context, user *userstore.User, but session.ID) (ended int, err error) {
	kept := ""
	if !but.IsZero() {
		kept = but.String()
	}
	rows, err := l.env.Store().EndOtherSessions(ctx, user, kept)
	return int(rows), err
}

// Close waits for what is written beside requests.
func (l *SessionList) Close() error {
	l.touches.running.Wait()
	return nil
}

// listed are the IDs of the sessions that are in a table. There are as many as are
// looked at when a login or logout ends them.
func (s *Sent) listed() (ids []string) {
	for _, list := range [][]session.Parsed{s.Valid, s.OtherScope, s.Ended} {
		for i := range list {
			if id := list[i].ID(); !id.IsZero() && len(ids) < maxGiven {
				ids = append(ids, id.String())
			}
		}
	}
	return ids
}
