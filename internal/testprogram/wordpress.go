package testprogram

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// WordPress installs a WordPress in a directory, with its tables in a database
// and a plugin, for an address such as https://blog.example.com. Its
// administrator is wpadmin, and its authors are the given names, all with the
// password x. It is that of Debian's package, or of WORDPRESS_DIR.
func WordPress(t testing.TB, dir, dsn, home, plugin string, authors ...string) {
	t.Helper()
	if output, err := exec.Command("cp", "-rL", findWordPress(t)+"/.", dir).CombinedOutput(); err != nil { //nolint:gosec // the caller says where
		t.Fatalf("copying WordPress: %v\n%s", err, output)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"wp-content/mu-plugins/remote-user.php": plugin,
		"wp-config.php": fmt.Sprintf(`<?php
define('DB_NAME', '%s'); define('DB_USER', '%s'); define('DB_PASSWORD', '%s'); define('DB_HOST', '%s');
define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
define('WP_HOME', '%[5]s'); define('WP_SITEURL', '%[5]s');
define('AUTH_KEY', 'a'); define('SECURE_AUTH_KEY', 'b'); define('LOGGED_IN_KEY', 'c'); define('NONCE_KEY', 'd');
define('DISABLE_WP_CRON', true); define('WP_HTTP_BLOCK_EXTERNAL', true);
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
`, cfg.DBName, cfg.User, cfg.Passwd, cfg.Addr, home),
		"install.php": fmt.Sprintf(`<?php
define('WP_INSTALLING', true);
function wp_mail() { return true; }
require __DIR__ . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';
wp_install('Test', 'wpadmin', 'wpadmin@example.com', false, '', 'x');
foreach (explode(' ', '%s') as $name) {
	is_wp_error($e = wp_insert_user(array('user_login' => $name, 'user_pass' => 'x', 'user_email' => "$name@example.com", 'role' => 'author'))) && exit($e->get_error_message());
}
`, strings.Join(authors, " ")),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // PHP's workers are other users
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	install := exec.Command("php", "install.php")
	install.Dir = dir
	if output, err := install.CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("installing WordPress: %v\n%s", err, output)
	}
}

// findWordPress finds the WordPress of Debian's package, or that of WORDPRESS_DIR.
func findWordPress(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("WORDPRESS_DIR")
	if dir == "" {
		dir = "/usr/share/wordpress"
	}
	if _, err := os.Stat(filepath.Join(dir, "wp-load.php")); err != nil { //nolint:gosec // the environment says where
		lacks(t, "there is no WordPress in "+dir+"; install it (Debian: apt-get install wordpress php-mysql), or name its directory in WORDPRESS_DIR")
	}
	if exec.Command("php", "-r", "exit(function_exists('mysqli_connect') ? 0 : 1);").Run() != nil {
		lacks(t, "there is no php with mysqli (Debian: apt-get install php-cli php-mysql)")
	}
	return dir
}
