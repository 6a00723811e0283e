// keys.hpp — the byte layout of every key in the store, on one page.
//
// A key begins with one letter that says what it is. Names of variable length (tenant ids, adapter
// names, aliases) never contain NUL and are ended by one, so no key is a prefix of another of its
// kind and `prefix` scans are exact; the last name needs no end. Numbers are big-endian, so byte
// order is numeric order. `·` below is that NUL.
//
//   kMeta    f                                     format version of the store, decimal
//            p <version:be32>                      check value of a pepper (tenancy/api_key.hpp)
//            t <tenant>                            tenant
//            l <tenant>                            its limits
//            o <tenant>                            its policy: models, addresses, models' limits
//            c <tenant> · <service account>        service account
//            k <key id>                            API key (its HMAC, never the key)
//            q <tenant> · <key id>                 when that key was last used, to the minute
//            b                                     limits of all tenants together
//            j                                     spend alerts of all tenants together
//            a <tenant> · <name>                   adapter
//            v <tenant> · <name> · <number:be32>   adapter version
//            s <tenant> · <name> · <alias>         alias: what it points at
//            y <tenant> · <name> · <alias>         what it pointed at before
//            r <tenant> · <name> · <number:be32>   report of a version's validation
//            i <content:32>                        chunks that are no version's: to be erased
//            n <tenant> · <name>                   deleted adapter: the number its next version
//            gets
//            e <tenant> · <adapter id>             acceptance checks of an adapter, JSON
//            x <tenant> · <file>                   file that a tenant keeps
//            u <tenant> · <upload>                 upload of one, in parts
//            w <tenant> · <upload> · <part>        part of an upload
//            h <tenant> · <webhook>                webhook; an empty tenant: the platform's
//            m <webhook> · <event>                 event on its way to a webhook
//            z <place:32>                          answer of an Idempotency-Key, sealed
//            d <tenant> · <draft>                  package that is put together file by file
//            g <tenant>                            uploads begun in its last day that had some
//   kChunks  <content:32> <file:u8> <chunk:be32>   1 MiB of a file of an adapter package
//   kLedger  u <finished:be64> <request id>        usage record
//            q <request id>                        when that request finished (be64): exactly once
//            t <tenant>                            totals of a tenant
//            a <tenant> · <adapter>                totals of one adapter of a tenant
//            d <tenant> · <key> · <day:be32>       totals of a day, of a key or (empty) the tenant
//            i <day:be32> <place:32>               what an Idempotency-Key that first came on that
//                                                  day has been charged
//            c                                     number (be64) of the last usage record that
//                                                  all totals have (tenancy/usage_books.hpp)
//            g <chain>                             the last link of a hash chain ('u'sage, 'a'udit)
//            h <chain> <number:be64>               link: 32 bytes of hash, key of the record
//   kAudit   <time:be64> <id>                      audit record
//
// A function named in the singular builds one key; in the plural, the prefix of many, to scan.
// Times are microseconds since 1970. Changing a layout raises kFormatVersion.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "storage/clock.hpp"
#include "storage/digest.hpp"

namespace tessera::keys {

// 2: totals of the ledger may lag behind its records. A store of version 1 is taken over as it is.
inline constexpr int kFormatVersion = 2;
inline constexpr int kOldestFormatVersion = 1;

// Building blocks.

template <class Unsigned>
std::string big_endian(Unsigned number) {
  std::string bytes(sizeof number, '\0');
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    *byte = static_cast<char>(number & 0xFF);
    number = static_cast<Unsigned>(number >> 8);
  }
  return bytes;
}

// The number that the last four bytes of a key are, such as a version or a chunk.
inline std::uint32_t number_at_end(std::string_view key) {
  assert(key.size() >= 4);
  std::uint32_t number = 0;
  for (const char byte : key.substr(key.size() - 4)) {
    number = number << 8 | static_cast<std::uint8_t>(byte);
  }
  return number;
}

inline std::string big_endian(WallTime time) {
  return big_endian(static_cast<std::uint64_t>(time.time_since_epoch().count()));
}

template <class Tag>
std::string_view bytes_of(const Digest<Tag>& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

// `kind`, then each name with its NUL.
inline std::string ended(char kind, std::initializer_list<std::string_view> names) {
  std::string key(1, kind);
  for (const std::string_view name : names) {
    assert(name.find('\0') == name.npos);
    key.append(name).push_back('\0');
  }
  return key;
}

// kMeta

inline std::string format_version() {
  return "f";
}
inline std::string pepper_check(std::uint32_t version) {
  return "p" + big_endian(version);
}

inline std::string tenants() {
  return "t";
}
inline std::string tenant(std::string_view id) {
  return tenants().append(id);
}

inline std::string all_limits() {
  return "l";
}
inline std::string limits(std::string_view tenant) {
  return all_limits().append(tenant);
}

inline std::string all_policies() {
  return "o";
}
inline std::string policy(std::string_view tenant) {
  return all_policies().append(tenant);
}

inline std::string service_accounts() {
  return "c";
}
inline std::string service_account(std::string_view tenant, std::string_view id) {
  return ended('c', {tenant}).append(id);
}

inline std::string api_keys() {
  return "k";
}
inline std::string api_key(std::string_view id) {
  return api_keys().append(id);
}

inline std::string key_uses(std::string_view tenant) {
  return ended('q', {tenant});
}
inline std::string key_use(std::string_view tenant, std::string_view id) {
  return key_uses(tenant).append(id);
}
inline std::string organization_limits() {
  return "b";
}

inline std::string organization_alerts() {
  return "j";
}

inline std::string all_adapters() {
  return "a";
}
inline std::string adapters(std::string_view tenant) {
  return ended('a', {tenant});
}
inline std::string adapter(std::string_view tenant, std::string_view name) {
  return adapters(tenant).append(name);
}

inline std::string all_versions() {
  return "v";
}
inline std::string versions(std::string_view tenant, std::string_view name) {
  return ended('v', {tenant, name});
}
inline std::string version(std::string_view tenant, std::string_view name, std::uint32_t number) {
  return versions(tenant, name) + big_endian(number);
}

inline std::string all_aliases() {
  return "s";
}
inline std::string aliases(std::string_view tenant, std::string_view name) {
  return ended('s', {tenant, name});
}
inline std::string alias(std::string_view tenant, std::string_view name, std::string_view alias) {
  return aliases(tenant, name).append(alias);
}

inline std::string alias_history(std::string_view tenant, std::string_view name,
                                 std::string_view alias) {
  return ended('y', {tenant, name}).append(alias);
}

inline std::string report(std::string_view tenant, std::string_view name, std::uint32_t number) {
  return ended('r', {tenant, name}) + big_endian(number);
}

inline std::string acceptance(std::string_view tenant, std::string_view adapter_id) {
  return ended('e', {tenant}).append(adapter_id);
}

inline std::string package_intents() {
  return "i";
}
inline std::string package_intent(const ContentDigest& content) {
  return package_intents().append(bytes_of(content));
}

inline std::string retired_adapter(std::string_view tenant, std::string_view name) {
  return ended('n', {tenant}).append(name);
}

inline std::string all_files() {
  return "x";
}
inline std::string file(std::string_view tenant, std::string_view id) {
  return ended('x', {tenant}).append(id);
}
inline std::string all_uploads() {
  return "u";
}
inline std::string upload(std::string_view tenant, std::string_view id) {
  return ended('u', {tenant}).append(id);
}
inline std::string all_upload_parts() {
  return "w";
}
inline std::string upload_part(std::string_view tenant, std::string_view upload,
                               std::string_view id) {
  return ended('w', {tenant, upload}).append(id);
}
inline std::string all_drafts() {
  return "d";
}
inline std::string draft(std::string_view tenant, std::string_view id) {
  return ended('d', {tenant}).append(id);
}

inline std::string begun_uploads(std::string_view tenant) {
  return std::string("g").append(tenant);
}

inline std::string all_webhooks() {
  return "h";
}
inline std::string webhook(std::string_view tenant, std::string_view id) {
  return ended('h', {tenant}).append(id);
}
inline std::string all_webhook_events() {
  return "m";
}
inline std::string webhook_event(std::string_view webhook, std::string_view event) {
  return ended('m', {webhook}).append(event);
}

inline std::string kept_answers() {
  return "z";
}
inline std::string kept_answer(const ContentDigest& place) {
  return kept_answers().append(bytes_of(place));
}

// kChunks

inline std::string chunks(const ContentDigest& content) {
  return std::string(bytes_of(content));
}
inline std::string chunks(const ContentDigest& content, std::uint8_t file) {
  return chunks(content) + big_endian(file);
}
inline std::string chunk(const ContentDigest& content, std::uint8_t file, std::uint32_t index) {
  return chunks(content, file) + big_endian(index);
}

// kLedger

inline std::string usage_records() {
  return "u";
}
inline std::string usage_records_from(WallTime from) {
  return usage_records() + big_endian(from);
}
inline std::string usage_record(WallTime finished, std::string_view request_id) {
  return usage_records_from(finished).append(request_id);
}
inline std::string usage_by_request(std::string_view request_id) {
  return std::string("q").append(request_id);
}

inline std::string tenant_totals() {
  return "t";
}
inline std::string totals_of_tenant(std::string_view tenant) {
  return tenant_totals().append(tenant);
}
inline std::string adapter_totals(std::string_view tenant) {
  return ended('a', {tenant});
}
inline std::string totals_of_adapter(std::string_view tenant, std::string_view adapter) {
  return adapter_totals(tenant).append(adapter);
}

inline std::string totals_of_days(std::string_view tenant, std::string_view key) {
  return ended('d', {tenant, key});
}
// `day`: since 1970.
inline std::string totals_of_day(std::string_view tenant, std::string_view key, std::uint32_t day) {
  return totals_of_days(tenant, key) + big_endian(day);
}

// `day`: since 1970.
inline std::string key_charges() {
  return "i";
}
inline std::string key_charges_from(std::uint32_t day) {
  return key_charges() + big_endian(day);
}
inline std::string key_charge(std::uint32_t day, const ContentDigest& place) {
  return key_charges_from(day).append(bytes_of(place));
}

inline std::string totals_through() {
  return "c";
}

inline std::string chain_head(char chain) {
  return std::string("g") + chain;
}
inline std::string chain_links(char chain) {
  return std::string("h") + chain;
}
inline std::string chain_link(char chain, std::uint64_t number) {
  return chain_links(chain) + big_endian(number);
}

// kAudit

inline std::string audit_records_from(WallTime from) {
  return big_endian(from);
}
inline std::string audit_record(WallTime time, std::string_view id) {
  return audit_records_from(time).append(id);
}

}  // namespace tessera::keys
