package follow

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestStreamsThatEndForAnotherWithTheirID has what servers say to the older one of two
// streams: MariaDB 10.5 and 10.11, MariaDB 11.8, and MySQL 8.
func TestStreamsThatEndForAnotherWithTheirID(t *testing.T) {
	t.Parallel()
	for _, said := range []*mysql.MySQLError{
		{Number: 1927, Message: "Connection was killed"},
		{Number: 4052, Message: "A slave with the same server_id is already connected; the first event 'binlog.000001' at 885"},
		{Number: 1236, Message: "A replica with the same server_uuid/server_id as this replica has connected to the source"},
	} {
		s := &stream{source: userstore.FollowSource{ServerID: 4711}}
		if err := s.explain(said); !errors.As(err, new(*userstore.Unfollowable)) || !strings.Contains(err.Error(), "server_id 4711") {
			t.Errorf("of %v, it is said: %v", said, err)
		}
		s.source.ServerID = 0 // another one is taken at random
		if err := s.explain(said); errors.As(err, new(*userstore.Unfollowable)) {
			t.Errorf("with an ID at random, %v isn't tried again", err)
		}
	}
}
