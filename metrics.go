package sesame

import (
	"errors"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/internal/place"
	"github.com/caddy-sesame/caddy-sesame/internal/version"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// outcome is what became of a request. Each has one.
type outcome uint8

const (
	outcomeToken       outcome = iota // went on, by a token
	outcomeSession                    // went on, by a session
	outcomeAnonymous                  // went on without a user
	outcomeLogin                      // was sent to the page with a session
	outcomePage                       // got a page of the gateway
	outcomeProbe                      // was a health check
	outcomeAhead                      // was made ahead of a click
	outcomeEarly                      // came as early data, and would change something
	outcomeRefused                    // has a token.Reason
	outcomeForbidden                  // its user doesn't meet what is required
	outcomeUnavailable                // MySQL gave no answer
	outcomeCanceled                   // the client went away
	outcomeLimited                    // was rejected, of a client over the limit
	outcomeBusy                       // too many passwords are to be hashed
	outcomes
)

// String is the outcome's name in metrics. It never changes.
func (o outcome) String() string {
	return [outcomes]string{
		"token", "session", "anonymous", "login", "page", "probe", "ahead", "early", "refused", "forbidden", "unavailable", "canceled", "limited", "busy",
	}[o]
}

// consumption is what became of the use of a one-time token.
type consumption uint8

const (
	consumptionUsed   consumption = iota // was used up
	consumptionLost                      // another request was first
	consumptionFailed                    // MySQL didn't say
	consumptions
)

// String is the name in metrics. It never changes.
func (c consumption) String() string {
	return [consumptions]string{"used", "lost", "failed"}[c]
}

// tally is what the handlers of one name have counted since the process began, those of
// former configurations included. It isn't reset by a reload.
type tally struct {
	requests      [outcomes]atomic.Uint64
	refused       [token.Revoked + 1]atomic.Uint64
	loginFailures [token.Revoked + 1]atomic.Uint64
	consumptions  [consumptions]atomic.Uint64
	logins        atomic.Uint64
	logouts       atomic.Uint64
	sessionsEnded [session.NoTable + 1]atomic.Uint64
	assertions    atomic.Uint64 // that were signed
	cut           atomic.Uint64 // long responses
	limited       atomic.Uint64 // clients that came over limit_failures
	hashed        atomic.Uint64 // passwords
	links         emaillink.Counts

	// Counts of the schemes besides tokens and sessions, and of ways to log in.
	mu       sync.Mutex
	served   map[string]*atomic.Uint64 // requests that went on, by the scheme
	reasons  map[string]*atomic.Uint64 // requests that were rejected, by the reason
	byMethod map[string]*atomic.Uint64 // logins, by the method
	failures map[string]*atomic.Uint64 // logins that failed on the login page, by the method and, behind a space, the reason
	rejected map[string]*atomic.Uint64 // credentials, by the scheme and, behind a space, the reason
}

// loginsBy is the count of logins by a method: the scheme of the token in a link, or
// a method of the login page.
func (t *tally) loginsBy(method string) *atomic.Uint64 { return t.named(&t.byMethod, method) }

// addMethods adds the counts of methods, which are then there before a login.
func (t *tally) addMethods(methods ...string) {
	for _, method := range methods {
		t.loginsBy(method)
	}
}

// failLogin counts a login that failed on the login page.
func (t *tally) failLogin(method string, err error) {
	t.named(&t.failures, method+" "+authn.ReasonOf(err)).Add(1)
}

// reject counts a credential that is rejected.
func (t *tally) reject(scheme string, err error) {
	t.named(&t.rejected, scheme+" "+authn.ReasonOf(err)).Add(1)
}

// servedBy is the count of requests that went on by credentials of a scheme.
func (t *tally) servedBy(scheme string) *atomic.Uint64 {
	switch scheme {
	case outcomeToken.String():
		return &t.requests[outcomeToken]
	case outcomeSession.String():
		return &t.requests[outcomeSession]
	}
	return t.named(&t.served, scheme)
}

// named returns the count with a name, which it adds if it is new.
func (t *tally) named(counts *map[string]*atomic.Uint64, name string) *atomic.Uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *counts == nil {
		*counts = make(map[string]*atomic.Uint64)
	}
	count, ok := (*counts)[name]
	if !ok {
		count = new(atomic.Uint64)
		(*counts)[name] = count
	}
	return count
}

// namedCounts are the counts with names, as they are now.
func (t *tally) namedCounts(counts *map[string]*atomic.Uint64) map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := make(map[string]uint64, len(*counts))
	for name, count := range *counts {
		now[name] = count.Load()
	}
	return now
}

// The handlers that metrics tell apart. Names are of the configuration, and a
// configuration that is often loaded with others must not add series without end.
const (
	mostHandlers  = 100
	otherHandlers = "other"
)

// tallySet are tallies by the names of the handlers.
type tallySet struct {
	mu     sync.Mutex
	byName map[string]*tally
}

// tallies are those of this process.
var tallies tallySet

// of is the tally of handlers with a name, or the one of all others if there are too many
// names.
func (s *tallySet) of(name string) *tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = make(map[string]*tally)
	}
	if s.byName[name] == nil && len(s.byName) >= mostHandlers {
		name = otherHandlers
	}
	if s.byName[name] == nil {
		s.byName[name] = new(tally)
	}
	return s.byName[name]
}

// all are the tallies as they are now.
func (s *tallySet) all() map[string]*tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.byName)
}

// allByOutcome are the counts of all handlers, as byOutcome has them.
func allByOutcome() map[string]uint64 {
	all := new(tally).byOutcome()
	for _, t := range tallies.all() {
		for name, n := range t.byOutcome() {
			all[name] += n
		}
	}
	return all
}

// nameOf is the name of a handler in metrics: its site's, with a number if the site has
// several.
func nameOf(ctx caddy.Context, h *Handler) string {
	app := accesslog.HTTPApp(ctx)
	h.site = place.Name(app, h.Source, func(config []byte) bool { return isConfiguredBy(h, config) })
	earlier := make(map[string]bool) // handlers of this site and configuration, by their place
	for _, other := range running() {
		if other.app == app && other.site == h.site && other.Source != h.Source {
			earlier[other.Source] = true
		}
	}
	h.app = app
	if len(earlier) == 0 {
		return h.site
	}
	return h.site + "#" + strconv.Itoa(len(earlier)+1)
}

// lookupSeconds is how long lookups take.
var lookupSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
	Name:    "caddy_sesame_lookup_duration_seconds",
	Help:    "Time of a lookup in MySQL, the wait for its turn included.",
	Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
})

func observeLookup(took time.Duration) { lookupSeconds.Observe(took.Seconds()) }

// refuse counts a request that is refused for a reason.
func (t *tally) refuse(err error) {
	t.requests[outcomeRefused].Add(1)
	name := authn.ReasonOf(err)
	for _, reason := range token.Reasons() {
		if reason.String() == name {
			t.refused[reason].Add(1)
			return
		}
	}
	t.named(&t.reasons, name).Add(1)
}

// used counts what became of the use of a one-time token.
func (t *tally) used(err error) {
	result := consumptionFailed
	switch {
	case err == nil:
		result = consumptionUsed
	case errors.Is(err, userstore.ErrConsumed):
		result = consumptionLost
	}
	t.consumptions[result].Add(1)
}

// byOutcome are the counts by outcome and by the reason of refusals.
func (t *tally) byOutcome() map[string]uint64 {
	counts := make(map[string]uint64)
	for o := range outcomes {
		if o != outcomeRefused {
			counts[o.String()] = t.requests[o].Load()
		}
	}
	for _, reason := range token.Reasons() {
		counts[outcomeRefused.String()+": "+reason.String()] = t.refused[reason].Load()
	}
	maps.Copy(counts, t.namedCounts(&t.served))
	for name, count := range t.namedCounts(&t.reasons) {
		counts[outcomeRefused.String()+": "+name] = count
	}
	return counts
}

// collector shows Prometheus what was counted, and the figures of the stores
// that are open.
type collector struct{}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_sesame_"+name, help, labels, nil)
}

var (
	requestsDesc        = describe("requests_total", "Requests by what became of them, and why they were refused.", "handler", "outcome", "reason")
	loginFailuresDesc   = describe("login_failures_total", "Logins that failed: by a link, or on the login page.", "handler", "method", "reason")
	consumptionsDesc    = describe("one_time_consumptions_total", "Uses of one-time tokens: used up, lost to another request, or failed.", "handler", "result")
	sessionsStartedDesc = describe("sessions_started_total", "Sessions that were started.", "handler")
	loginsDesc          = describe("logins_total", "Logins by the way in which the user was authenticated.", "handler", "method")
	sessionsEndedDesc   = describe("sessions_ended_total", "Sessions that were ended by a logout, or refused for a reason.", "handler", "reason")
	buildDesc           = describe("build_info", "1, with the versions of this module, of Caddy and of Go.", "caddy", "go", "version")
	rejectedDesc        = describe("credentials_rejected_total", "Credentials that were rejected, by their scheme and the reason.", "handler", "scheme", "reason")
	assertionsDesc      = describe("assertions_signed_total", "Assertions that were signed. Each serves many requests.", "handler")
	cutDesc             = describe("responses_cut_total", "Long responses that were cut off since their user may no longer log in.", "handler")
	limitedDesc         = describe("clients_limited_total", "Clients that came over limit_failures, each once in a while.", "handler")
	hashedDesc          = describe("passwords_hashed_total", "Passwords that were hashed to check them, since they weren't known to be right.", "handler")
	linkRequestsDesc    = describe("link_requests_total", "Requests for links by e-mail: accepted, or over a limit, or dropped.", "handler", "result")
	linksDesc           = describe("links_total", "Links by e-mail by what became of them, for each user of an address.", "handler", "result")
	batchSizeDesc       = describe("batch_size", "Users that one lookup query reads.")
	poolDesc            = describe("pool_connections", "Connections to MySQL by state.", "state")
	poolMaxDesc         = describe("pool_max_connections", "Connections to MySQL that may be open.")
	breakerDesc         = describe("breaker_open", "1 while the server doesn't answer and requests are told so at once, else 0.", "role", "server")
	stalledDesc         = describe("stalled_statements", "Statements that MySQL hadn't answered within query_timeout, and may still execute.", "role", "server")
	cacheUsersDesc      = describe("cache_users", "Users that are kept in the cache.")
	followStateDesc     = describe("follow_handlers", "Handlers that follow the binlog, by state.", "state")
	followLeaseDesc     = describe("follow_lease_age_seconds", "The longest time since a server confirmed that all changes are known.")
	followRowsDesc      = describe("follow_rows", "Rows that are kept until they change.")
	followBytesDesc     = describe("follow_bytes", "Memory that these rows take, as estimated.")
	followLookupsDesc   = describe("follow_lookups_total", "Lookups where the binlog is followed: hit or miss.", "result")
	followEventsDesc    = describe("follow_events_total", "Changes in the binlog: of known rows, or of any.", "concerns")
	followEndsDesc      = describe("follow_interruptions_total", "Times that following was interrupted, or not confirmed in time.", "cause")
	cacheLookupsDesc    = describe("cache_lookups_total", "Lookups in the cache: hit, miss, or known to be absent.", "result")
)

// Describe implements prometheus.Collector.
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		buildDesc, requestsDesc, loginsDesc, loginFailuresDesc, consumptionsDesc, sessionsStartedDesc, sessionsEndedDesc,
		rejectedDesc, assertionsDesc, cutDesc, limitedDesc, hashedDesc, linkRequestsDesc, linksDesc,
		batchSizeDesc, poolDesc, poolMaxDesc, breakerDesc, stalledDesc, cacheUsersDesc, cacheLookupsDesc,
		followStateDesc, followLeaseDesc, followRowsDesc, followBytesDesc, followLookupsDesc, followEventsDesc, followEndsDesc,
	} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (collector) Collect(to chan<- prometheus.Metric) {
	caddyVersion, _ := caddy.Version()
	to <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1, caddyVersion, runtime.Version(), version.Module())
	for handler, t := range tallies.all() {
		t.collect(to, handler)
	}
	collectStores(to)
}

// collect exports what the handlers of a name have counted.
func (t *tally) collect(to chan<- prometheus.Metric, handler string) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{handler}, labels...)...)
	}
	for o := range outcomes {
		if o != outcomeRefused {
			count(requestsDesc, t.requests[o].Load(), o.String(), "")
		}
	}
	for _, reason := range token.Reasons() {
		count(requestsDesc, t.refused[reason].Load(), outcomeRefused.String(), reason.String())
		count(loginFailuresDesc, t.loginFailures[reason].Load(), outcomeToken.String(), reason.String())
	}
	for failed, n := range t.namedCounts(&t.failures) {
		method, reason, _ := strings.Cut(failed, " ")
		count(loginFailuresDesc, n, method, reason)
	}
	for rejected, n := range t.namedCounts(&t.rejected) {
		scheme, reason, _ := strings.Cut(rejected, " ")
		count(rejectedDesc, n, scheme, reason)
	}
	for method, n := range t.namedCounts(&t.byMethod) {
		count(loginsDesc, n, method)
	}
	for scheme, n := range t.namedCounts(&t.served) {
		count(requestsDesc, n, scheme, "")
	}
	for reason, n := range t.namedCounts(&t.reasons) {
		count(requestsDesc, n, outcomeRefused.String(), reason)
	}
	for c := range consumptions {
		count(consumptionsDesc, t.consumptions[c].Load(), c.String())
	}
	count(sessionsStartedDesc, t.logins.Load())
	count(sessionsEndedDesc, t.logouts.Load(), "logout")
	for _, reason := range session.Reasons() {
		count(sessionsEndedDesc, t.sessionsEnded[reason].Load(), reason.String())
	}
	count(assertionsDesc, t.assertions.Load())
	count(cutDesc, t.cut.Load())
	count(limitedDesc, t.limited.Load())
	count(hashedDesc, t.hashed.Load())
	t.links.Requests(func(result string, n uint64) { count(linkRequestsDesc, n, result) })
	t.links.Links(func(result string, n uint64) { count(linksDesc, n, result) })
}

// collectStores exports the figures of the stores: counters of all stores since the
// process began, and gauges.
func collectStores(to chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	totals := userstore.AllTotals()
	batches := make(map[float64]uint64) // cumulative, as Prometheus has it
	var queries uint64
	for i, size := range userstore.QuerySizes() {
		queries += totals.Queries[i]
		batches[float64(size)] = queries
	}
	to <- prometheus.MustNewConstHistogram(batchSizeDesc, queries, float64(totals.Lookups), batches)
	count(cacheLookupsDesc, totals.Hits, "hit")
	count(cacheLookupsDesc, totals.Misses, "miss")
	count(cacheLookupsDesc, totals.Denied, "absent")

	count(followLookupsDesc, totals.Follow.Hits, "hit")
	count(followLookupsDesc, totals.Follow.Misses, "miss")
	count(followEventsDesc, totals.Follow.Events-totals.Follow.Drops, "rows")
	count(followEventsDesc, totals.Follow.Drops, "all")
	count(followEndsDesc, totals.Follow.Interruptions, "stream")
	count(followEndsDesc, totals.Follow.Lapses, "lease")
	collectFollowed(to)
	collectOpen(to)
}

// collectOpen exports gauges of the stores that are open.
func collectOpen(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	// Handlers may share connections and kept rows.
	var inUse, idle, mostOpen, users int
	seen := make(map[[32]byte]bool)
	silent, stalled := make(map[[2]string]int), make(map[[2]string]int)
	for _, h := range running() {
		for _, server := range h.gate.store.Servers() {
			of := [2]string{server.Role, server.Address}
			stalled[of] = server.Stalled
			if !server.Silent.IsZero() {
				silent[of] = 1
			} else if _, known := silent[of]; !known {
				silent[of] = 0
			}
			if !seen[server.PoolID] {
				seen[server.PoolID] = true
				pool := server.Pool
				inUse, idle, mostOpen = inUse+pool.InUse, idle+pool.Idle, mostOpen+pool.MaxOpenConnections
			}
		}
		if h.gate.cache != nil && !seen[h.gate.cache.RowsID()] {
			seen[h.gate.cache.RowsID()] = true
			users += h.gate.cache.Stats().Users
		}
	}
	for of, is := range silent {
		gauge(breakerDesc, is, of[0], of[1])
	}
	for of, n := range stalled {
		gauge(stalledDesc, n, of[0], of[1])
	}
	gauge(poolDesc, inUse, "in_use")
	gauge(poolDesc, idle, "idle")
	gauge(poolMaxDesc, mostOpen)
	gauge(cacheUsersDesc, users)
}

// collectFollowed exports the state of the handlers that follow the binlog.
func collectFollowed(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	states := make(map[string]int)
	for _, state := range userstore.FollowStates() {
		states[state] = 0
	}
	var rows, bytes, age float64
	seen := make(map[[32]byte]bool) // rows, which handlers share
	for _, h := range running() {
		if h.gate.follows == nil {
			continue
		}
		stats := h.gate.follows.Stats()
		states[stats.State]++
		if !seen[stats.RowsID] {
			seen[stats.RowsID] = true
			rows, bytes, age = rows+float64(stats.Rows), bytes+float64(stats.Size), max(age, stats.LeaseAge.Seconds())
		}
	}
	for state, n := range states {
		gauge(followStateDesc, float64(n), state)
	}
	gauge(followRowsDesc, rows)
	gauge(followBytesDesc, bytes)
	gauge(followLeaseDesc, age)
}

// registerMetrics adds the metrics to a configuration's registry. Each of the
// configuration's handlers may be the first to do so.
func registerMetrics(registry *prometheus.Registry) error {
	metrics := append(mail.Metrics(), collector{}, lookupSeconds)
	for _, metric := range metrics {
		err := registry.Register(metric)
		if _, isThere := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !isThere {
			return err
		}
	}
	return nil
}

// Interface guards
var _ prometheus.Collector = collector{}
