package secondfactor

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestProofByALinkIsOfOneRow: rows that differ in what a link depends on, in whichever
// way, don't accept each other's proofs.
func TestProofByALinkIsOfOneRow(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAsker("key", &now)
	login := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	var rows []*userstore.User
	for _, row := range []token.User{
		{},
		{Password: new("")},
		{Email: new("")},
		{Password: new(""), Email: new("")},
		{Password: new("hash"), Email: new("a@example.com")},
		{Password: new("hasha@example.com"), Email: new("")},
		{Password: new("hash")},
		{Email: new("hash")},
		{Password: new("hash"), LastLogin: new(login)},
		{Password: new("hash"), LastLogin: new(login.Add(time.Microsecond))},
		{Password: new("hash"), Email: new(login.Format(time.RFC3339Nano))},
	} {
		rows = append(rows, &userstore.User{PrimaryKey: token.IntKey(1), User: row})
	}
	for i, began := range rows {
		pending := a.BeginByLink(Link{User: began, Fingerprint: "0123456789abcdef0123", Issued: now}, 0)
		for j, row := range rows {
			if got := a.isStillProven(pending, row); got != (i == j) {
				t.Errorf("row %d accepts the proof of row %d: %t", j, i, got)
			}
		}
		if pending.Fingerprint() != "0123456789abcdef0123" {
			t.Errorf("the fingerprint is %s", pending.Fingerprint())
		}
	}
	byPassword := &Pending{proof: proof{kind: byPassword, id: a.linkID(rows[4])}}
	if a.isStillProven(byPassword, rows[4]) {
		t.Error("the proof of a link counts as one of a password")
	}
}
