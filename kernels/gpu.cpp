#include "kernels/gpu.hpp"

#include <array>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

#include <dlfcn.h>

namespace tessera {
namespace {

constexpr int kMaxGpus = 16;

struct CloseModule {
  void operator()(void* handle) const { dlclose(handle); }
};
using Module = std::unique_ptr<void, CloseModule>;

Module open_module() {
  std::error_code error;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const auto* folder : {".", "../lib"}) {
    const auto path = executable.parent_path() / folder / kCudaModuleName;
    if (Module module{dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)}) return module;
  }
  return nullptr;
}

constexpr char kNoModule[] = "this build has no CUDA module beside it";
constexpr char kOtherVersion[] = "the CUDA module is of another version";

}  // namespace

GpuProbe probe_gpus() {
  const Module module = open_module();
  if (!module) return {{}, kNoModule};
  // dlsym gives an object pointer; POSIX promises that it converts to a function's.
  const auto probe = reinterpret_cast<CudaProbeFunction>(dlsym(module.get(), kCudaProbeSymbol));
  if (probe == nullptr) return {{}, kOtherVersion};
  std::array<GpuInfo, kMaxGpus> found{};
  const char* reason = "";
  const int count = probe(found.data(), kMaxGpus, &reason);
  if (count <= 0) return {{}, count < 0 ? reason : "the driver reports no device"};
  return {{found.begin(), found.begin() + count}, ""};
}

std::unique_ptr<Backend> make_gpu_backend(const ModelWeights& weights,
                                          const BackendLimits& limits) {
  Module module = open_module();
  if (!module) throw std::runtime_error(std::string("no GPU: ") + kNoModule);
  const auto make = reinterpret_cast<CudaBackendFunction>(dlsym(module.get(), kCudaBackendSymbol));
  if (make == nullptr) throw std::runtime_error(std::string("no GPU: ") + kOtherVersion);
  const char* reason = "";
  std::unique_ptr<Backend> backend(make(&weights, &limits, &reason));
  if (!backend) throw std::runtime_error(std::string("no GPU: ") + reason);
  module.release();  // the backend's code is in it
  return backend;
}

}  // namespace tessera
