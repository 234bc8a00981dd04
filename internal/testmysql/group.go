package testmysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // asks the members for their states

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// joinLimit is how long a server may take to join its group, or to leave the view of
// the others.
const joinLimit = 3 * time.Minute

// groupName is the identity of all groups here, which know each other by their ports.
const groupName = "8a94f357-aab4-11df-86ab-c80aa9429573"

// Group is a running group of MySQL Group Replication, whose members all accept writes
// until SinglePrimary is called.
type Group struct{ Members []*Server }

// StartGroup runs a number of servers in directories inside dir, and makes a group of
// them. The caller calls Stop, and removes dir.
func StartGroup(dir string, size int) (*Group, error) {
	if os.Getenv(variable) == "" {
		return nil, ErrNotInstalled
	}
	addresses := make([]string, size) // of the members for each other
	for i := range addresses {
		var err error
		if addresses[i], err = child.FreeAddress(); err != nil {
			return nil, err //nolint:wrapcheck // it says what was done
		}
	}
	g := new(Group)
	for i, address := range addresses {
		if err := g.add(dir, i+1, address, addresses); err != nil {
			g.Stop()
			return nil, err
		}
	}
	return g, nil
}

// add starts the next member, and has it join the group.
func (g *Group) add(dir string, id int, address string, addresses []string) error {
	dir = filepath.Join(dir, "member"+strconv.Itoa(id))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a member's directory: %w", err)
	}
	member, err := Start(dir,
		"--server-id="+strconv.Itoa(id),
		"--log-bin=binlog",
		"--gtid-mode=ON",
		"--enforce-gtid-consistency=ON",
		"--performance-schema=1", // which tells of the members
		"--report-host=127.0.0.1",
		"--plugin-load-add=group_replication.so",
		"--loose-group-replication-group-name="+groupName,
		"--loose-group-replication-start-on-boot=OFF",
		"--loose-group-replication-local-address="+address,
		"--loose-group-replication-group-seeds="+strings.Join(addresses, ","),
		"--loose-group-replication-single-primary-mode=OFF",
		"--loose-group-replication-exit-state-action=READ_ONLY",
		// A busy machine may stop a member for a while.
		"--loose-group-replication-member-expel-timeout=3600",
	)
	if err != nil {
		return err
	}
	g.Members = append(g.Members, member)
	first := "OFF"
	if id == 1 {
		first = "ON" // there is no group yet
	}
	err = member.Exec("",
		"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'root', SOURCE_PASSWORD = '' FOR CHANNEL 'group_replication_recovery'",
		"SET GLOBAL group_replication_bootstrap_group = "+first,
		"START GROUP_REPLICATION",
		"SET GLOBAL group_replication_bootstrap_group = OFF")
	if err != nil {
		return err
	}
	return g.AwaitOnline(member, id)
}

// AwaitOnline waits until a member sees a number of members that are online, and no
// others.
func (g *Group) AwaitOnline(member *Server, number int) error {
	db, err := sql.Open("mysql", member.DSN(""))
	if err != nil {
		return fmt.Errorf("opening a member: %w", err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), joinLimit)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		var all, online int
		err := db.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(MEMBER_STATE = 'ONLINE'), 0) FROM performance_schema.replication_group_members").Scan(&all, &online)
		if err == nil && all == number && online == number {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the member sees %d members, %d of them online, and not %d: %w", all, online, number, errors.Join(err, ctx.Err()))
		}
	}
}

// SinglePrimary has one member alone accept writes, the first.
func (g *Group) SinglePrimary() error {
	var uuid string
	db, err := sql.Open("mysql", g.Members[0].DSN(""))
	if err != nil {
		return fmt.Errorf("opening a member: %w", err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT @@server_uuid").Scan(&uuid); err != nil {
		return fmt.Errorf("asking a member for its identity: %w", err)
	}
	return g.Members[0].Exec("", "SELECT group_replication_switch_to_single_primary_mode('"+uuid+"')")
}

// Kill ends a member at once. The others leave it out of the group after MySQL's default
// time.
func (g *Group) Kill(member *Server) error {
	for _, other := range g.Members {
		if err := other.Exec("", "SET GLOBAL group_replication_member_expel_timeout = DEFAULT"); err != nil {
			return err
		}
	}
	member.Kill()
	return nil
}

// Stop ends all members.
func (g *Group) Stop() {
	for _, member := range slices.Backward(g.Members) {
		member.Kill()
	}
}
