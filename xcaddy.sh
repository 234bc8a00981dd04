#!/usr/bin/env bash
# Builds, shows and tests this checkout. It works from any directory, and says
# in one line what it lacks.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
module=github.com/caddy-sesame/caddy-sesame
cd -- "$root"

# A checkout that belongs to another user, or a folder that isn't one, has no
# version that git would tell; that is no reason not to build it.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
# go.work files above this directory are not meant for it.
export GOWORK=off

usage() {
	cat <<-'EOF'
		Usage:
		  ./xcaddy.sh build [VERSION]   build ./caddy with this module; VERSION of Caddy, by default the one in go.mod
		  ./xcaddy.sh sbom [FILE]       write down what is in ./caddy, as CycloneDX JSON; FILE is caddy.cdx.json by default
		  ./xcaddy.sh package [ARCH...] make packages, tar files and a container image in ./dist, for amd64 and arm64 by default
		  ./xcaddy.sh demo [-check]     show it at work, with a database and an application of its own
		  ./xcaddy.sh test [ARG...]     run all tests; arguments go to go test
		  ./xcaddy.sh fuzz [SECONDS] [TARGETS]
		                                look for inputs that a fuzz target fails with, 60 s with each, or with those that a
		                                regular expression names, as in 'internal/mail\.Fuzz'; the inputs are kept as tests
		  ./xcaddy.sh screenshots       make the pictures in docs, in Chromium
		  ./xcaddy.sh bench [ARG...]    compare it with its peers, in some 50 minutes; bench -h shows options
		  ./xcaddy.sh soak [DURATION]   have two gateways work under faults, for 10m by default; soak -h shows options
	EOF
}

fail() {
	printf 'xcaddy.sh: %s\n' "$*" >&2
	exit 1
}

# needs_go makes sure of a Go that can build this. An older one that may
# download the right toolchain does that by itself.
needs_go() {
	local want have
	want=$(awk '$1 == "go" { print $2; exit }' go.mod)
	command -v go >/dev/null || fail "go is missing: install Go $want or later from https://go.dev/dl/, and put its bin directory on PATH"
	have=$(go env GOVERSION 2>/dev/null) || fail "this Go ($(go version)) is too old: install Go $want or later from https://go.dev/dl/"
	have=${have#go}
	have=${have%% *}
	[ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] ||
		fail "Go $have is too old: install Go $want or later from https://go.dev/dl/"
}

# has_race tells whether the race detector works here: it needs cgo and a C
# compiler.
has_race() {
	[ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC | cut -d ' ' -f 1)" >/dev/null
}

# sesame_version is the version of this checkout: that of the commit's tag, or a
# pseudo-version as Go makes them. SESAME_VERSION says it where git can't.
sesame_version() {
	local commit
	if [ -n "${SESAME_VERSION:-}" ]; then
		echo "$SESAME_VERSION"
		return
	fi
	commit=$(TZ=UTC0 git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd-%H 2>/dev/null) || {
		echo unknown
		return
	}
	git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || echo "v0.0.0-${commit:0:27}"
	[ -z "$(git status --porcelain 2>/dev/null)" ] || echo +dirty
}

# counting passes lines on to a log, and tells every now and then how many lines
# with a pattern there were so far.
counting() {
	local log=$1 pattern=$2 format=$3 n=0 line said=$SECONDS
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$log"
		[[ $line =~ $pattern ]] || continue
		n=$((n + 1))
		if [ -t 1 ]; then
			# shellcheck disable=SC2059
			printf "\r  $format" "$n"
		elif [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			# shellcheck disable=SC2059
			printf "  $format\n" "$n"
		fi
	done
	[ "$n" -eq 0 ] || [ ! -t 1 ] || echo
}

# compile runs go build for the package in the current directory, or for the one
# that is named, and says how far it is. What it prints goes to a log, which is
# shown if it fails.
compile() {
	local log=$1 output=$2 package=$3 todo
	shift 3
	# What isn't in Go's cache.
	todo=$(go list -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$@" "$package" 2>>"$log" | grep -c . || true)
	[ "$todo" -le 200 ] || echo "  $todo packages are to be compiled, which takes a minute or two on two cores"
	go build -v "$@" -o "$output" "$package" 2>&1 | counting "$log" '^[^ ]+$' "compiled %d of $todo packages"
}

# prepare has xcaddy write the module that the builds are made of, and prints its
# directory.
prepare() {
	local version=$1 xcaddy=$root/.cache/xcaddy log=$root/.cache/xcaddy.log
	: >"$log"
	# xcaddy is a tool of a module of its own, so that its version is certain and
	# its dependencies are not ours.
	(cd tools/xcaddy && GOOS='' GOARCH='' go build -o "$xcaddy" github.com/caddyserver/xcaddy/cmd/xcaddy) >>"$log" 2>&1 || return 1
	# The replacement after = makes it this checkout, whatever is published under
	# the module's path. With a version, go doesn't even ask what there is; this
	# one is no release's.
	XCADDY_SKIP_BUILD=1 "$xcaddy" build "$version" --with "$module@v0.0.0=$root" --with "$module/follow@v0.0.0=$root/follow" --output "$root/caddy.new" 2>&1 |
		counting "$log" 'go: downloading' 'downloaded %d modules' >&2 || return 1
	local dir
	dir=$(sed -n 's/.*leaving folder intact: //p' "$log")
	[ -d "$dir" ] || {
		echo "xcaddy didn't say where it has prepared the build" >>"$log"
		return 1
	}
	# The same sources make the same bytes, wherever they are: go notes in a binary
	# which directory a module was replaced by, so that name is always the same.
	ln -s "$root" "$dir/sesame"
	(
		cd -- "$dir" &&
			go mod edit -dropreplace="$module@v0.0.0" -replace="$module=./sesame" \
				-dropreplace="$module/follow@v0.0.0" -replace="$module/follow=./sesame/follow" &&
			go mod tidy -e
	) >>"$log" 2>&1 || {
		rm -rf -- "$dir"
		return 1
	}
	echo "$dir"
}

# compile_caddy makes a file of what prepare has written. The flags are xcaddy's
# own, and a version: of a directory, go notes none.
compile_caddy() {
	local dir=$1 output=$2 sesame stamp flags
	sesame=$(sesame_version | tr -d '\n')
	stamp="-X '$module/internal/version.stamped=$sesame' -X 'github.com/caddyserver/caddy/v2.CustomVersion=caddy-sesame $sesame, Caddy'"
	flags=(-trimpath "-ldflags=-w -s $stamp" -tags=nobadger,nomysql,nopgx)
	if [ -n "${XCADDY_GO_BUILD_FLAGS:-}" ]; then
		read -ra flags <<<"$XCADDY_GO_BUILD_FLAGS"
		[[ $XCADDY_GO_BUILD_FLAGS == *-ldflags* ]] || flags+=("-ldflags=$stamp")
	fi
	(cd -- "$dir" && CGO_ENABLED=${CGO_ENABLED:-0} compile "$root/.cache/xcaddy.log" "$output" . "${flags[@]}")
}

# caddy_version is the version of Caddy that go.mod names.
caddy_version() {
	go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2
}

# build_failed shows what was logged.
build_failed() {
	cat .cache/xcaddy.log >&2
	rm -f caddy.new
	fail "the build failed"
}

build() {
	[ $# -le 1 ] || fail "build takes one version of Caddy at most"
	needs_go
	mkdir -p .cache
	local version=${1:-} start=$SECONDS dir status=0
	[ -n "$version" ] || version=$(caddy_version)

	echo "Building caddy $version with $module $(sesame_version | tr -d '\n') from this checkout"
	echo "Getting the modules that it is made of: the first time, some 170 are downloaded (.cache/xcaddy.log)"
	dir=$(prepare "$version") || build_failed
	echo "Compiling"
	compile_caddy "$dir" "$root/caddy.new" || status=$?
	rm -rf -- "$dir"
	[ $status -eq 0 ] || build_failed
	# Not through a pipe: grep is done before caddy is, which would count as its
	# failure.
	local modules
	modules=$(./caddy.new list-modules) && grep -qx 'http\.handlers\.sesame' <<<"$modules" &&
		grep -qx 'http\.handlers\.sesame\.followers\.mysql' <<<"$modules" || {
		rm -f caddy.new
		fail "the caddy that was built lacks http.handlers.sesame, or its follower of the binlog"
	}
	# Not before it is whole, and never into the file of a running caddy.
	mv -f caddy.new caddy
	echo "Built ./caddy in $((SECONDS - start)) s: $(./caddy version | sed 's/ h1:.*//'), with http.handlers.sesame"
}

# stale tells whether ./caddy is missing or older than what it is built from:
# the modules inside this one are no part of it.
stale() {
	[ -x caddy ] || return 0
	[ -n "$(find . \( -path ./internal/devmysql -o -path ./internal/devsmtp -o -path ./internal/rawquic -o -path ./bench -o -path ./e2e -o -path ./soak -o -path ./tools -o -path ./packaging -o -path './.*' \) -prune -o \
		\( -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum -o -path './internal/*' \( -name '*.html' -o -name '*.css' -o -name '*.json' -o -name '*.ico' \) \) -newer caddy -print -quit)" ]
}

# sbom lists the modules in ./caddy, as go has noted them in it. The same caddy
# gives the same list.
sbom() {
	[ $# -le 1 ] || fail "sbom takes one file at most"
	needs_go
	[ -x caddy ] || build
	mkdir -p .cache
	list_modules ./caddy "${1:-caddy.cdx.json}"
	echo "Wrote ${1:-caddy.cdx.json}"
}

# list_modules writes the list of a binary to a file.
list_modules() {
	local binary=$1 file=$2
	(cd tools/sbom && go build -o "$root/.cache/cyclonedx-gomod" github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod)
	.cache/cyclonedx-gomod bin -json -std -noserial -notimestamp -output "$file" "$binary" 2>.cache/sbom.log || {
		cat .cache/sbom.log >&2
		fail "the list wasn't made"
	}
	# The name that prepare gives this checkout is unique.
	sed -i.bak -e "s#pkg:golang/\./sesame\([@/]\)#pkg:golang/$module\1#g" -e "s#\"name\": \"\./sesame\([\"/]\)#\"name\": \"$module\1#" "$file"
	rm -f -- "$file.bak"
}

# packages makes what users install, of binaries with the flags of a release. The
# same commit gives the same files.
packages() {
	needs_go
	local version start=$SECONDS dir arch binary time status=0 stage=$root/.cache/release binaries=()
	version=$(sesame_version | tr -d '\n')
	[ "$version" != unknown ] || fail "git doesn't know this checkout: say its version, as in SESAME_VERSION=v1.2.3 ./xcaddy.sh package"
	# The time of the commit, or of the last entry in the list of changes.
	time=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
	[ $# -gt 0 ] || set -- amd64 arm64
	rm -rf dist "$stage"
	mkdir -p .cache dist "$stage"

	echo "Packaging caddy-sesame $version for $*"
	dir=$(prepare "$(caddy_version)") || build_failed
	for arch; do
		echo "Compiling for $arch"
		binary=$stage/caddy-$arch
		GOOS=linux GOARCH=$arch CGO_ENABLED=0 XCADDY_GO_BUILD_FLAGS='' compile_caddy "$dir" "$binary" || status=$?
		[ $status -eq 0 ] || break
		binaries+=("$arch=$binary")
	done
	rm -rf -- "$dir"
	[ $status -eq 0 ] || build_failed
	for arch; do
		list_modules "$stage/caddy-$arch" "dist/caddy-sesame_${version#v}_linux_$arch.cdx.json"
	done

	echo "Making packages, tar files and the image"
	(cd tools/nfpm && go build -o "$root/.cache/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm)
	(cd packaging && go build -o "$root/.cache/make-release" ./cmd/release)
	.cache/make-release -version "$version" -time "$time" -dist dist -stage "$stage" -nfpm .cache/nfpm \
		-modcache "$(go env GOMODCACHE)" -goroot "$(go env GOROOT)" "${binaries[@]}" || fail "the packages weren't made"
	rm -rf -- "$stage"
	(cd dist && ls)
	echo "Made these in ./dist in $((SECONDS - start)) s"
}

demo() {
	needs_go
	if stale; then
		build
	fi
	mkdir -p .cache
	local log=$root/.cache/demo.log
	: >"$log"
	echo "Building the demo's database, application and mailbox"
	(cd internal/devmysql && compile "$log" "$root/.cache/demo" ./cmd/demo) &&
		(cd internal/devsmtp && compile "$log" "$root/.cache/devsmtp" ./cmd/devsmtp) || {
		cat "$log" >&2
		fail "the demo couldn't be built"
	}
	echo "Starting them"
	# exec: a signal that ends this script ends the demo.
	exec .cache/demo -caddy "$root/caddy" -config internal/devmysql/cmd/demo/Caddyfile -mail-server "$root/.cache/devsmtp" "$@"
}

# screenshots has the tests in Chromium look at the pages, and keeps the pictures
# that docs show.
screenshots() {
	needs_go
	local name
	(cd e2e && go test -count=1 -run 'OnEveryScreen|TestMailedCode|TestPasswordAndCode' .) || fail "the pages aren't as they should be"
	mkdir -p docs/pictures
	for name in login-desktop-light login-phone-dark link-sent-phone-light second-factor-phone-light; do
		cp "e2e/screenshots/$name.png" "docs/pictures/$name.png"
	done
	echo "Made the pictures in docs/pictures"
}

tests() {
	needs_go
	local race=() failed=() dir
	if has_race; then
		race=(-race)
	else
		echo "xcaddy.sh: without cgo and a C compiler (Debian: apt install gcc libc6-dev) the tests run without -race" >&2
	fi
	for dir in . follow internal/devmysql internal/devsmtp bench e2e soak packaging tools/mutate; do
		[ -f "$dir/go.mod" ] || continue
		# With -race, the root's tests take more than half of go's own limit, 10m.
		(cd -- "$dir" && go test ${race[@]+"${race[@]}"} -timeout 20m "$@" ./...) || failed+=("$dir")
	done
	[ ${#failed[@]} -eq 0 ] || fail "tests failed in ${failed[*]}"
}

# fuzz looks for new inputs, one target after the other. It is no part of the gate,
# whose verdict on a change must not depend on chance; an input that fails is written
# to testdata, where go test tries it from then on.
fuzz() {
	needs_go
	local seconds=${1:-60} pattern=${2:-.} dir package name label binary built='' n=0 failed=()
	[[ $# -le 2 && $seconds =~ ^[1-9][0-9]*$ ]] || fail "fuzz takes the seconds for each target, and a regular expression for their names"
	mkdir -p .cache
	dir=$(mktemp -d)
	# shellcheck disable=SC2064 # the directory is known now
	trap "rm -rf -- '$dir'" EXIT
	while read -r package name; do
		label=${package#.}.$name
		label=${label#/}
		label=${label#.}
		[[ $label =~ $pattern ]] || continue
		n=$((n + 1))
		binary=$dir/$(tr / - <<<"${package#./}").test
		# By itself, go test -fuzz would instrument all that it imports as well, and
		# compile Caddy anew for it: here it is our own code alone whose ways are to
		# be found.
		[ "$built" = "$package" ] || go -C "$package" test -c -gcflags="$module/...=-d=libfuzzer" -o "$binary" . || {
			failed+=("$label")
			continue
		}
		built=$package
		echo "$label"
		(cd -- "$package" && "$binary" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "${seconds}s" \
			-test.fuzzcachedir "$root/.cache/fuzz/$package") </dev/null 2>&1 | tee "$dir/said" ||
			ended_by_the_clock "$name" "$dir/said" || failed+=("$label")
	done < <(fuzz_targets)
	[ $n -gt 0 ] || fail "no fuzz target is named by $pattern; ./docs/testing.md lists them"
	[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}; the inputs are below testdata/fuzz of these packages: correct the code, and commit the input with it"
}

# fuzz_targets lists the fuzz targets of all modules, each behind its directory.
fuzz_targets() {
	find . -name '*_test.go' -not -path './.*/*' -exec grep -HoE '^func Fuzz[A-Za-z0-9_]*' {} + |
		sed -E 's|/[^/]*:func | |' | sort
}

# ended_by_the_clock tells from what a target printed whether it failed with
# nothing but the end of its time. Before 1.27, Go now and then takes that for a
# failure (go.dev/issue/75804). An input that fails is always written down.
ended_by_the_clock() {
	local said
	said=$(sed -n "/^ *--- FAIL: $1 /,\$p" "$2" | sed '1d;/^FAIL$/d;s/^ *//')
	[ "$said" = 'context deadline exceeded' ] && ! grep -qi 'failing input' "$2"
}

bench() {
	needs_go
	mkdir -p .cache
	(cd bench && go build -o "$root/.cache/bench" ./cmd/bench)
	# What shows the options needs no caddy.
	if [[ ! ${1:-} =~ ^--?h(elp)?$ ]] && stale; then
		build
	fi
	exec .cache/bench -caddy "$root/caddy" -out "$root/bench/results" "$@"
}

soak() {
	needs_go
	mkdir -p .cache
	(cd soak && go build -o "$root/.cache/soak" ./cmd/soak)
	if [[ ! ${1:-} =~ ^--?h(elp)?$ ]] && stale; then
		build
	fi
	exec .cache/soak -caddy "$root/caddy" "$@"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
build) build "$@" ;;
sbom) sbom "$@" ;;
package) packages "$@" ;;
demo) demo "$@" ;;
test) tests "$@" ;;
fuzz) fuzz "$@" ;;
screenshots) screenshots ;;
bench) bench "$@" ;;
soak) soak "$@" ;;
help | -h | --help) usage ;;
*)
	usage >&2
	fail "there is no command $command"
	;;
esac
