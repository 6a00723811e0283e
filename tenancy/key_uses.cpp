#include "tenancy/key_uses.hpp"

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "storage/background.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

WallTime minute_of(WallTime time) {
  return std::chrono::floor<std::chrono::minutes>(time);
}

// In the store: minutes since 1970, decimal.
std::string encode(WallTime minute) {
  return std::to_string(minute.time_since_epoch() / std::chrono::minutes(1));
}

Result<WallTime> decode(std::string_view text) {
  std::int64_t minutes = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), minutes);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) {
    return Error{Code::kCorrupt, "a key's last use cannot be read"};
  }
  return WallTime(std::chrono::minutes(minutes));
}

}  // namespace

KeyUses::KeyUses(Store& store, const Clock& clock)
    : store_(store),
      clock_(clock),
      thread_([this](const std::stop_token& stop) { write_periodically(stop); }) {}

KeyUses::~KeyUses() {
  stop();
}

void KeyUses::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  if (auto written = flush(); !written) {
    log_error("key_uses_not_written", {{"reason", written.error().message}});
  }
}

void KeyUses::note(const TenantId& tenant, const KeyId& key, WallTime now) {
  const WallTime minute = minute_of(now);
  Shard& shard = shard_of(key);
  const MutexLock lock(shard.mutex);
  const auto found = shard.uses.find(key);
  if (found == shard.uses.end()) {
    shard.uses.emplace(key, Use{.tenant = tenant, .minute = minute});
  } else if (found->second.minute < minute) {
    found->second.minute = minute;
  }
}

Result<std::optional<WallTime>> KeyUses::last_use(const TenantId& tenant, const KeyId& key) const {
  {
    const Shard& shard = shard_of(key);
    const MutexLock lock(shard.mutex);
    const auto found = shard.uses.find(key);
    if (found != shard.uses.end()) return std::optional(found->second.minute);
  }
  const auto text = store_.get(Family::kMeta, keys::key_use(tenant.str(), key.str()));
  if (!text) return text.error();
  if (!*text) return std::optional<WallTime>();
  const auto minute = decode(**text);
  if (!minute) return minute.error();
  return std::optional(*minute);
}

Result<std::map<KeyId, WallTime>> KeyUses::last_uses(const TenantId& tenant) const {
  std::map<KeyId, WallTime> uses;
  Result<void> decoded;
  const std::string prefix = keys::key_uses(tenant.str());
  auto scanned =
      store_.scan(Family::kMeta, prefix, prefix, [&](std::string_view key, std::string_view text) {
        const auto minute = decode(text);
        if (!minute) decoded = minute.error();
        if (minute) uses[KeyId(std::string(key.substr(prefix.size())))] = *minute;
        return minute.has_value();
      });
  if (!decoded) return decoded.error();
  if (!scanned) return scanned.error();
  for (const Shard& shard : shards_) {
    const MutexLock lock(shard.mutex);
    for (const auto& [key, use] : shard.uses) {
      if (use.tenant == tenant) uses[key] = use.minute;
    }
  }
  return uses;
}

Result<void> KeyUses::flush() {
  for (Shard& shard : shards_) {
    if (auto written = write(shard, WallTime::max(), nullptr); !written) return written;
  }
  return {};
}

// Those whose last note in the store is of `written_by` or before.
KeyUses::Told KeyUses::untold(const Shard& shard, WallTime written_by) {
  Told told;
  const MutexLock lock(shard.mutex);
  for (const auto& [key, use] : shard.uses) {
    if (use.written < use.minute && use.written <= written_by) told.emplace_back(key, use);
  }
  return told;
}

// What was noted meanwhile is written another time.
void KeyUses::note_written(Shard& shard, const Told& told, WallTime minute) {
  const MutexLock lock(shard.mutex);
  for (const auto& [key, use] : told) {
    const auto found = shard.uses.find(key);
    if (found != shard.uses.end()) found->second.written = use.minute;
  }
  std::erase_if(shard.uses, [minute](const auto& entry) {
    return entry.second.written == entry.second.minute && entry.second.minute < minute;
  });
}

// With rests between the batches, if somebody may want to end them; none after that.
Result<void> KeyUses::write(Shard& shard, WallTime written_by, const std::stop_token* rests) {
  const Told told = untold(shard, written_by);
  Batch batch;
  for (std::size_t i = 0; i < told.size(); ++i) {
    const auto& [key, use] = told[i];
    batch.put(Family::kMeta, keys::key_use(use.tenant.str(), key.str()), encode(use.minute));
    if (batch.puts.size() < kWrittenAtOnce && i + 1 < told.size()) continue;
    if (auto written = store_.write(batch, Durability::kBuffered); !written) return written;
    batch = {};
    if (rests) rest(*rests, kPause);
  }
  note_written(shard, told, minute_of(clock_.wall_now()));
  return {};
}

void KeyUses::rest(const std::stop_token& stop, std::chrono::milliseconds time) {
  const MutexLock lock(mutex_);
  wake_.wait_for(mutex_, stop, time, [] { return false; });
}

void KeyUses::write_periodically(const std::stop_token& stop) {
  step_back();
  for (;;) {
    rest(stop, kKeyUsesPeriod);
    for (Shard& shard : shards_) {
      if (stop.stop_requested()) return;
      const auto written = write(shard, clock_.wall_now() - kKeyUsesStep, &stop);
      if (!written) log_error("key_uses_not_written", {{"reason", written.error().message}});
      rest(stop, kPause);  // a shard may have many keys, none of which is to be written
    }
  }
}

}  // namespace tessera
