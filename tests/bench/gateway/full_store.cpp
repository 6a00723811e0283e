#include "tests/bench/gateway/full_store.hpp"

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "adapters/registry_records.hpp"
#include "storage/keys.hpp"
#include "storage/store.hpp"
#include "tenancy/api_key.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

constexpr std::size_t kPutsOfBatch = 10'000;

class Filler {
 public:
  Filler(const FullStore& wanted, Store& store, const PepperFile& peppers, std::ostream& keys)
      : wanted_(wanted), store_(store), peppers_(peppers), keys_(keys) {}

  Result<void> run() {
    for (int i = 0; i < wanted_.num_tenants; ++i) put_tenant(i);
    for (int i = 0; i < wanted_.num_keys; ++i) put_key(i);
    for (int i = 0; i < wanted_.num_adapters; ++i) put_adapter(i);
    write();
    if (!written_) return written_;
    return store_.sync();
  }

 private:
  void put(const std::string& key, std::string value) {
    batch_.put(Family::kMeta, key, std::move(value));
    if (batch_.puts.size() >= kPutsOfBatch) write();
  }

  void write() {
    if (written_) written_ = store_.write(batch_, Durability::kBuffered);
    batch_ = {};
  }

  void put_tenant(int index) {
    const Tenant tenant{.id = TenantId("proj_" + new_ulid(now_)),
                        .name = "tenant " + std::to_string(index),
                        .slug = "tenant-" + std::to_string(index),
                        .created_at = now_};
    TenantLimits limits;
    limits.requests_per_minute = kMaxLimit;
    limits.tokens_per_minute = kMaxLimit;
    limits.max_concurrent_requests = kMaxLimit;
    limits.max_adapters = kMaxLimit;
    const ServiceAccount account{.id = ServiceAccountId("svc_" + new_ulid(now_)),
                                 .tenant = tenant.id,
                                 .name = "service",
                                 .created_at = now_};
    put(keys::tenant(tenant.id.str()), encode(tenant));
    put(keys::limits(tenant.id.str()), encode(limits));
    put(keys::service_account(tenant.id.str(), account.id.str()), encode(account));
    accounts_.push_back(account);
  }

  void put_key(int index) {
    const ServiceAccount& account = accounts_[static_cast<std::size_t>(index) % accounts_.size()];
    const ApiKey key = new_api_key(KeyKind::kLive);
    const ApiKeyRecord record{.id = key.id,
                              .kind = key.kind,
                              .tenant = account.tenant,
                              .service_account = account.id,
                              .name = "key " + std::to_string(index),
                              .scopes = kDefaultKeyScopes,
                              .pepper_version = peppers_.current_version(),
                              .secret_hmac = peppers_.hmac(peppers_.current_version(), key.secret),
                              .created_at = now_,
                              .created_by = KeyId("abcdefghijkl")};
    put(keys::api_key(key.id.str()), encode(record));
    keys_ << to_text(key) << '\n';
  }

  void put_adapter(int index) {
    const ServiceAccount& account = accounts_[static_cast<std::size_t>(index) % accounts_.size()];
    const std::string& tenant = account.tenant.str();
    const std::string name = "bot-" + std::to_string(index);
    const AdapterInfo info{
        .id = "adp_" + new_ulid(now_), .name = name, .created_at = now_, .next_version = 3};
    put(keys::adapter(tenant, name), adapter_record(info));
    for (const std::uint32_t number : {1U, 2U}) {
      put(keys::version(tenant, name, number), version_record(version_of(index, number)));
    }
    const Alias prod{
        .target = AliasTarget::one(2), .moved_at = now_, .moved_by = KeyId("abcdefghijkl")};
    put(keys::alias(tenant, name, "prod"), alias_record(prod));
  }

  AdapterVersion version_of(int adapter, std::uint32_t number) const {
    const std::uint64_t seed = static_cast<std::uint64_t>(adapter) * 2 + number;
    AdapterVersion version;
    version.id = "adv_" + new_ulid(now_);
    version.created_at = now_;
    version.created_by = KeyId("abcdefghijkl");
    std::memcpy(version.digest.bytes.data(), &seed, sizeof seed);
    std::memcpy(version.package.content.bytes.data(), &seed, sizeof seed);
    version.package.config_bytes = 700;
    version.package.tensors_bytes = 80'000'000;
    version.rank_max = 16;
    version.num_tensors = 128;
    version.target_modules = {"down_proj", "gate_proj", "k_proj", "o_proj",
                              "q_proj",    "up_proj",   "v_proj"};
    return version;
  }

  const FullStore wanted_;
  Store& store_;
  const PepperFile& peppers_;
  std::ostream& keys_;
  const WallTime now_ = SystemClock().wall_now();
  Batch batch_;
  Result<void> written_;
  std::vector<ServiceAccount> accounts_;
};

}  // namespace

Result<void> make_full_store(const FullStore& wanted, const std::filesystem::path& data,
                             const std::filesystem::path& keys_file) {
  std::filesystem::create_directories(data);
  auto store = open_rocks_store(data / "store");
  if (!store) return store.error();
  const auto peppers = PepperFile::open(data / "peppers");
  if (!peppers) return peppers.error();
  std::ofstream keys(keys_file);
  if (auto filled = Filler(wanted, **store, *peppers, keys).run(); !filled) return filled;
  keys.flush();
  if (keys) return {};
  return Error{Code::kIo, "cannot write " + keys_file.string()};
}

}  // namespace tessera
