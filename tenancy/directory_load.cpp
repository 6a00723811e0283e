#include "tenancy/directory_load.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "storage/keys.hpp"
#include "storage/mutex.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

constexpr unsigned kMaxLoadThreads = 4;
constexpr std::size_t kMaxId = 255;  // bytes; ours have some thirty

// What the ids of keys begin with, each as often as another.
constexpr std::string_view kFirstCharacters =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// Calls `take(rest of the key, record, its text)` for the records under `prefix` whose keys go on
// with a byte in [first, last).
template <class Record, class Take>
Result<void> load_range(const Store& store, const std::string& prefix, int first, int last,
                        Take take) {
  Result<void> decoded;
  const std::string start = first == 0 ? prefix : prefix + static_cast<char>(first);
  auto scanned =
      store.scan(Family::kMeta, prefix, start, [&](std::string_view key, std::string_view value) {
        const std::string_view rest = key.substr(prefix.size());
        if (!rest.empty() && static_cast<unsigned char>(rest.front()) >= last) return false;
        auto record = decode<Record>(value);
        if (!record) {
          decoded = record.error();
          return false;
        }
        take(rest, *std::move(record), value);
        return true;
      });
  return decoded ? scanned : decoded;
}

template <class Record, class Take>
Result<void> load_all(const Store& store, const std::string& prefix, Take take) {
  return load_range<Record>(store, prefix, 0, 256, take);
}

// Calls work(index of the thread, piece) for each piece in [0, num_pieces): whichever thread is
// free takes the next.
void share_out(std::size_t num_threads, std::size_t num_pieces,
               const std::function<void(std::size_t, std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < num_threads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t piece; (piece = next.fetch_add(1)) < num_pieces;) work(thread, piece);
    });
  }
}

class KeyLoader {
 public:
  KeyLoader(const Store& store, const PepperFile& peppers)
      : store_(store),
        peppers_(peppers),
        piles_(std::clamp(std::thread::hardware_concurrency(), 1U, kMaxLoadThreads)) {}

  Result<std::shared_ptr<const LoadedKeys>> load() {
    share_out(piles_.size(), kFirstCharacters.size(),
              [this](std::size_t thread, std::size_t piece) { read(piece, piles_[thread]); });
    if (failed_) return first_error();
    return std::shared_ptr<const LoadedKeys>(std::make_shared<LoadedKeys>(std::move(piles_)));
  }

 private:
  void read(std::size_t piece, LoadedKeys::Pile& pile) {
    if (failed_) return;
    bool lacks_pepper = false;
    bool is_odd = false;
    auto loaded = load_range<ApiKeyRecord>(
        store_, keys::api_keys(), begin_of(piece), begin_of(piece + 1),
        [&](std::string_view id, const ApiKeyRecord& key, std::string_view text) {
          lacks_pepper |= !peppers_.has(key.pepper_version) ||
                          (key.retired && !peppers_.has(key.retired->pepper_version));
          is_odd |= key.id.str() != id || std::max(id.size(), key.tenant.str().size()) > kMaxId;
          if (!is_odd) pile.add(key, text);
        });
    if (!loaded) return fail(loaded.error());
    if (is_odd) return fail({Code::kCorrupt, "a key's record is not its own"});
    if (!lacks_pepper) return;
    fail({Code::kCorrupt, "the pepper file lacks a version that keys were made with"});
  }

  static int begin_of(std::size_t piece) {
    if (piece == 0) return 0;
    if (piece == kFirstCharacters.size()) return 256;
    return static_cast<unsigned char>(kFirstCharacters[piece]);
  }

  void fail(Error error) {
    const MutexLock lock(mutex_);
    if (!failed_) error_ = std::move(error);
    failed_ = true;
  }
  Error first_error() {
    const MutexLock lock(mutex_);
    return error_;
  }

  const Store& store_;
  const PepperFile& peppers_;
  std::vector<LoadedKeys::Pile> piles_;  // one a thread
  std::atomic<bool> failed_ = false;
  Mutex mutex_;
  Error error_ TESSERA_GUARDED_BY(mutex_);
};

Result<std::map<TenantId, TenantEntry>> load_tenants(const Store& store) {
  std::map<TenantId, TenantEntry> tenants;
  auto loaded =
      load_all<Tenant>(store, keys::tenants(), [&](std::string_view id, Tenant tenant, auto) {
        tenants[TenantId(std::string(id))].tenant = std::move(tenant);
      });
  if (loaded) {
    loaded = load_all<TenantLimits>(store, keys::all_limits(),
                                    [&](std::string_view id, const TenantLimits& limits, auto) {
                                      tenants[TenantId(std::string(id))].limits = limits;
                                    });
  }
  if (loaded) {
    loaded = load_all<TenantPolicy>(store, keys::all_policies(),
                                    [&](std::string_view id, TenantPolicy policy, auto) {
                                      tenants[TenantId(std::string(id))].policy =
                                          std::make_shared<const TenantPolicy>(std::move(policy));
                                    });
  }
  if (loaded) {
    loaded = load_all<ServiceAccount>(store, keys::service_accounts(),
                                      [&](std::string_view, ServiceAccount account, auto) {
                                        auto& accounts = tenants[account.tenant].service_accounts;
                                        const ServiceAccountId id = account.id;
                                        accounts.insert_or_assign(id, std::move(account));
                                      });
  }
  if (!loaded) return loaded.error();
  return tenants;
}

}  // namespace

Result<DirectorySnapshot> load_directory(const Store& store, const PepperFile& peppers) {
  auto tenants = load_tenants(store);
  if (!tenants) return tenants.error();
  DirectorySnapshot loaded;
  for (auto& [id, entry] : *tenants) loaded.put(std::move(entry));
  auto keys = KeyLoader(store, peppers).load();
  if (!keys) return keys.error();
  loaded.put_loaded(*std::move(keys));
  return loaded;
}

}  // namespace tessera
