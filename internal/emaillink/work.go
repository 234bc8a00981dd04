package emaillink

import (
	"cmp"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// How often requests are looked up while the store has no answer, and when they are
// given up: their users have then asked again.
const (
	lookUpAgain = time.Second
	lookUpUntil = time.Minute
)

// work looks requests up and sends mails, until no request waits.
func (l *Links) work() {
	for {
		batch := l.queue.take()
		if batch == nil {
			return
		}
		found, err := l.find(batch)
		if err != nil {
			l.giveUp(batch, err)
			continue
		}
		for _, w := range batch {
			l.answer(w, found[w.Address])
		}
	}
}

// find finds the users of requests. While the store has no answer, it tries again.
func (l *Links) find(batch []*waiting) (map[string][]*userstore.User, error) {
	addresses := make([]string, len(batch))
	for i, w := range batch {
		addresses[i] = w.Address
	}
	for {
		found, err := l.env.Users().FindByAddress(l.ctx, addresses)
		if err == nil || l.ctx.Err() != nil || !errors.Is(err, userstore.ErrUnavailable) {
			return found, err
		}
		if l.env.Now().Add(lookUpAgain).After(time.Unix(batch[0].pending.Asked, 0).Add(lookUpUntil)) {
			return nil, err
		}
		timer := time.NewTimer(lookUpAgain)
		select {
		case <-timer.C:
		case <-l.ctx.Done():
			timer.Stop()
			return nil, l.ctx.Err()
		}
	}
}

func (l *Links) giveUp(batch []*waiting, err error) {
	l.env.Counts.links[fateFailed].Add(uint64(len(batch)))
	if omitted, ok := l.lines.Take("batch"); ok {
		l.env.Logger.Error("links that were asked for aren't sent, since their users can't be looked up",
			zap.Int("links", len(batch)), zap.Error(err), zap.Int("omitted", omitted))
	}
}

// answer sends the mails that a request leads to.
func (l *Links) answer(w *waiting, users []*userstore.User) {
	known := false
	for _, user := range users {
		if w.User != "" && user.PrimaryKey.String() != w.User {
			continue
		}
		known = true
		if err := l.accepts(user); err != nil {
			l.env.Counts.links[fateRefused].Add(1)
			l.env.Logger.Debug("no link is sent to a user who may not log in", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
			continue
		}
		if err := l.send(w, user); err != nil {
			l.env.Counts.links[fateFailed].Add(1)
			if omitted, ok := l.lines.Take("user"); ok {
				l.env.Logger.Error("a link isn't sent", zap.Stringer("user", user.PrimaryKey), zap.Error(err), zap.Int("omitted", omitted))
			}
			continue
		}
		l.env.Counts.links[fateMailed].Add(1)
		if w.Mailed != nil {
			w.Mailed(user)
		}
	}
	if !known {
		l.env.Counts.links[fateNoUser].Add(1)
	}
}

// accepts says whether a user may log in.
func (l *Links) accepts(user *userstore.User) error {
	if !user.IsActive {
		return token.InactiveUser
	}
	return l.env.Accepts(user)
}

// send sends a user the mail with the link and the code, to the stored address.
func (l *Links) send(w *waiting, user *userstore.User) error {
	tokens, err := l.Tokens(l.ctx)
	if err != nil {
		return err
	}
	link := Link{Length: w.Length, Browser: l.browser(w.Tie)}
	made, err := tokens.Create(user.PrimaryKey, user.User, w.Scope+link.Bound(), time.Unix(w.pending.Asked, 0))
	if err != nil {
		return err
	}
	code, err := l.code(tokens, w.pending, user)
	if err != nil {
		return err
	}
	m, err := l.compose(w, user, l.url(link, made, w.Next), code)
	if err != nil {
		return err
	}
	return l.mail.Send(m)
}

// compose writes the mail.
func (l *Links) compose(w *waiting, user *userstore.User, url, code string) (mail.Message, error) {
	content := contentOf(w.Language, letter{
		site: cmp.Or(l.env.SiteName, siteName(l.base)), user: user.DisplayName(), url: url, code: code, minutes: int(l.maxAge / time.Minute),
	})
	html, err := content.html()
	if err != nil {
		return mail.Message{}, err
	}
	return mail.Message{
		To: *user.Email, Subject: content.Subject, Text: content.text(), HTML: html,
		Language: w.Language.Tag(), Until: l.ends(w.pending),
	}, nil
}
