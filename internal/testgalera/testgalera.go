// Package testgalera runs a Galera cluster of private MariaDB servers for tests: each
// node has its own data directory and loopback ports. It needs MariaDB, Galera's
// library and rsync, which Debian's mariadb-server, galera-4 and rsync install.
package testgalera

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // asks the nodes for their states

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// ErrNotInstalled is returned by Start where a part of the cluster is missing. Tests
// skip on it, or fail where they must not skip.
var ErrNotInstalled = errors.New("no Galera cluster can run here (Debian: apt install mariadb-server galera-4 rsync)")

// libraries are where Galera's library is installed.
var libraries = []string{"/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so"}

// systemUser is the user that the nodes run as: the script for state transfers refuses
// to run as root.
const systemUser = "mysql"

// syncLimit is how long a node may take to join the cluster.
const syncLimit = 3 * time.Minute

// Cluster is a running cluster.
type Cluster struct {
	Nodes []*Node
	dir   string
}

// Node is a server of a cluster.
type Node struct {
	*testmariadb.Server
	cluster *Cluster
	port    int // for the other nodes
	options []string
}

// Start runs a cluster of a number of nodes, with further arguments of mariadbd. The
// caller calls Stop.
func Start(size int, arguments ...string) (*Cluster, error) {
	library, err := installed()
	if err != nil {
		return nil, err
	}
	dir, err := child.TempDir("sesame-galera")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err := c.start(size, library, arguments); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// installed returns the path of Galera's library.
func installed() (string, error) {
	i := slices.IndexFunc(libraries, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
	if i < 0 {
		return "", ErrNotInstalled
	}
	if _, err := exec.LookPath("rsync"); err != nil {
		return "", ErrNotInstalled
	}
	return libraries[i], nil
}

func (c *Cluster) start(size int, library string, arguments []string) error {
	owner, err := ownerOf(c.dir)
	if err != nil {
		return err
	}
	ports, err := freePorts(3 * size) // for each node: group communication, and both kinds of state transfers
	if err != nil {
		return err
	}
	members := make([]string, size)
	for i := range members {
		members[i] = "127.0.0.1:" + strconv.Itoa(ports[3*i])
	}
	for i := range size {
		n := &Node{cluster: c, port: ports[3*i]}
		dir := filepath.Join(c.dir, "node"+strconv.Itoa(i+1))
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the nodes' user must get in
			return fmt.Errorf("making a node's directory: %w", err)
		}
		n.options = append(owner.arguments(),
			"--wsrep-on=ON",
			"--wsrep-provider="+library,
			"--wsrep-cluster-name=sesame",
			"--wsrep-cluster-address=gcomm://"+strings.Join(members, ","),
			"--wsrep-node-name=node"+strconv.Itoa(i+1),
			"--wsrep-node-address=127.0.0.1:"+strconv.Itoa(n.port),
			"--wsrep-sst-method=rsync",
			"--wsrep-sst-receive-address=127.0.0.1:"+strconv.Itoa(ports[3*i+2]),
			"--wsrep-slave-threads=2",
			"--wsrep-provider-options="+strings.Join([]string{
				"gmcast.listen_addr=tcp://" + members[i],
				"gcache.size=32M",
				"ist.recv_addr=127.0.0.1:" + strconv.Itoa(ports[3*i+1]),
			}, ";"),
			"--binlog-format=ROW",
			"--innodb-autoinc-lock-mode=2",
			"--innodb-fast-shutdown=1",
		)
		n.options = append(n.options, arguments...)
		if n.Server, err = testmariadb.Install(dir, n.options...); err != nil {
			return err
		}
		if err := owner.take(dir); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
		if i == 0 {
			err = n.Bootstrap()
		} else {
			err = n.Join()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Bootstrap starts a node as the first of the cluster.
func (n *Node) Bootstrap() error { return n.begin("--wsrep-new-cluster") }

// Join starts a node that joins the others, and waits until it is in sync with them.
func (n *Node) Join() error { return n.begin() }

func (n *Node) begin(arguments ...string) error {
	if err := n.Restart(arguments...); err != nil {
		return err
	}
	return n.AwaitStatus("wsrep_local_state_comment", "Synced")
}

// Status returns one of the node's status variables.
func (n *Node) Status(ctx context.Context, name string) (string, error) {
	db, err := sql.Open("mysql", n.DSN(""))
	if err != nil {
		return "", err
	}
	defer db.Close()
	var value string
	err = db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value)
	return value, err
}

// AwaitStatus waits until a status variable of the node has a value.
func (n *Node) AwaitStatus(name, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), syncLimit)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		value, err := n.Status(ctx, name)
		if err == nil && value == want {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the node's %s is %q, not %s: %w", name, value, want, err)
		}
	}
}

// CutOff cuts the node off from the other nodes, but not from clients. The node loses
// its quorum, and keeps running.
func (n *Node) CutOff() error {
	return n.Exec("", "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
}

// Connect ends CutOff.
func (n *Node) Connect() error {
	return n.Exec("", "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
}

// Stop ends all nodes, and removes their data.
func (c *Cluster) Stop() {
	for _, n := range slices.Backward(c.Nodes) {
		n.Kill()
	}
	_ = os.RemoveAll(c.dir)
}

// owner is the system user that the nodes run as; the zero value is this process's.
type owner struct {
	isOther  bool
	uid, gid int
}

// ownerOf returns the nodes' user, who can enter a directory from now on.
func ownerOf(dir string) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	found, err := user.Lookup(systemUser)
	if err != nil {
		return owner{}, fmt.Errorf("%w: %w", ErrNotInstalled, err)
	}
	o := owner{isOther: true}
	if o.uid, err = strconv.Atoi(found.Uid); err != nil {
		return o, err
	}
	if o.gid, err = strconv.Atoi(found.Gid); err != nil {
		return o, err
	}
	return o, os.Chmod(dir, 0o755) //nolint:gosec // the nodes' user must get in
}

func (o owner) arguments() []string {
	if !o.isOther {
		return nil
	}
	return []string{"--user=" + systemUser}
}

// take makes the user the owner of a directory with all that is in it.
func (o owner) take(dir string) error {
	if !o.isOther {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, o.uid, o.gid) //nolint:gosec // no other user can write there yet
	})
}

// freePorts returns ports that no program listens on.
func freePorts(number int) ([]int, error) {
	ports := make([]int, number)
	for i := range ports {
		var err error
		if ports[i], err = child.FreePort(); err != nil {
			return nil, err //nolint:wrapcheck // it says what was done
		}
	}
	return ports, nil
}
