<?php
declare(strict_types=1);

// Who the user is, by the assertions of caddy-sesame. Needs PHP 7.4 or later
// with sodium, which PHP brings along.

/** The request has no assertion that holds. Answer 401. */
final class Refused extends RuntimeException
{
}

/** Verifies assertions for one application. */
final class Assertions
{
    private const LEEWAY = 5;   // seconds by which the clocks may differ
    private const FRESH = 300;  // seconds after which the keys are read again
    private const STALE = 3600; // seconds after which keys that can't be read again are no good
    private const PAUSE = 10;   // seconds between two attempts to read the keys

    private string $keysUrl;
    private string $audience;
    private string $issuer;
    private string $directory;

    /**
     * @param string $directory is where the keys are kept between requests: one
     *     that only the user that PHP runs as can write to.
     */
    public function __construct(string $keysUrl, string $audience, string $directory, string $issuer = 'caddy-sesame')
    {
        $this->keysUrl = $keysUrl;
        $this->audience = $audience;
        $this->directory = $directory;
        $this->issuer = $issuer;
    }

    /**
     * Returns the claims of the value of Authorization, or throws Refused. PHP's
     * servers join the values of a field that comes twice, and those don't hold.
     */
    public function verify(?string $authorization): array
    {
        if (!preg_match('/^Bearer +([\w-]+)\.([\w-]+)\.([\w-]+)$/iD', $authorization ?? '', $match)) {
            throw new Refused('there is no assertion');
        }
        [, $head, $body, $signature] = $match;

        $header = self::parse($head);
        // The algorithm is ours to say, not the assertion's.
        if (($header['alg'] ?? null) !== 'EdDSA' || !is_string($header['kid'] ?? null)) {
            throw new Refused("it isn't signed with EdDSA");
        }
        $raw = self::decode($signature);
        if (strlen($raw) !== SODIUM_CRYPTO_SIGN_BYTES
            || !sodium_crypto_sign_verify_detached($raw, "$head.$body", $this->key($header['kid']))) {
            throw new Refused('the signature is wrong');
        }

        $claims = self::parse($body);
        $now = time();
        if (($claims['iss'] ?? null) !== $this->issuer) {
            throw new Refused("it is another issuer's");
        }
        if (!in_array($this->audience, (array) ($claims['aud'] ?? []), true)) {
            throw new Refused('it is for another application');
        }
        if (!is_int($claims['exp'] ?? null) || $claims['exp'] <= $now - self::LEEWAY) {
            throw new Refused('it has expired');
        }
        if (!is_int($claims['nbf'] ?? null) || $claims['nbf'] > $now + self::LEEWAY) {
            throw new Refused("it isn't valid yet");
        }
        if (!is_string($claims['sub'] ?? null)) {
            throw new Refused('it names no user');
        }
        return $claims;
    }

    private function key(string $kid): string
    {
        [$keys, $read] = $this->kept();
        if (!isset($keys[$kid]) || time() - $read > self::FRESH) {
            $this->readKeys();
            [$keys, $read] = $this->kept();
        }
        if (!isset($keys[$kid]) || time() - $read > self::STALE) {
            throw new Refused('no key has this id');
        }
        return $keys[$kid];
    }

    /** The keys by their ids, and when they were read. */
    private function kept(): array
    {
        clearstatcache();
        $file = "$this->directory/keys.json";
        $set = is_file($file) ? json_decode((string) file_get_contents($file), true) : null;
        $keys = [];
        foreach ($set['keys'] ?? [] as $key) {
            $public = self::decode((string) ($key['x'] ?? ''));
            if (($key['kty'] ?? '') === 'OKP' && ($key['crv'] ?? '') === 'Ed25519'
                && strlen($public) === SODIUM_CRYPTO_SIGN_PUBLICKEYBYTES) {
                $keys[(string) ($key['kid'] ?? '')] = $public;
            }
        }
        return [$keys, $keys ? (int) filemtime($file) : 0];
    }

    private function readKeys(): void
    {
        // Any client can name keys that don't exist: that must not become a request
        // each. The process with the lock reads, and the others wait for it.
        $lock = fopen("$this->directory/keys.lock", 'c+');
        if (!$lock || !flock($lock, LOCK_EX)) {
            return;
        }
        $tried = (int) stream_get_contents($lock);
        if (time() - $tried >= self::PAUSE) {
            rewind($lock);
            fwrite($lock, (string) time());
            fflush($lock);
            $context = stream_context_create(['http' => ['timeout' => 3, 'follow_location' => 0]]);
            $set = @file_get_contents($this->keysUrl, false, $context, 0, 1 << 16);
            if ($set !== false && isset(json_decode($set, true)['keys'])) {
                file_put_contents("$this->directory/keys.new", $set);
                rename("$this->directory/keys.new", "$this->directory/keys.json");
            }
        }
        fclose($lock);
    }

    private static function parse(string $part): array
    {
        $object = json_decode(self::decode($part), true);
        if (!is_array($object)) {
            throw new Refused("it isn't a JSON Web Token");
        }
        return $object;
    }

    private static function decode(string $text): string
    {
        return (string) base64_decode(strtr($text, '-_', '+/'), true);
    }
}
