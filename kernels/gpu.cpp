#include "kernels/gpu.hpp"

#include <array>
#include <filesystem>
#include <memory>
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

}  // namespace

GpuProbe probe_gpus() {
  const Module module = open_module();
  if (!module) return {{}, "this build has no CUDA module beside it"};
  // dlsym gives an object pointer; POSIX promises that it converts to a function's.
  const auto probe = reinterpret_cast<CudaProbeFunction>(dlsym(module.get(), kCudaProbeSymbol));
  if (probe == nullptr) return {{}, "the CUDA module is of another version"};
  std::array<GpuInfo, kMaxGpus> found{};
  const char* reason = "";
  const int count = probe(found.data(), kMaxGpus, &reason);
  if (count <= 0) return {{}, count < 0 ? reason : "the driver reports no device"};
  return {{found.begin(), found.begin() + count}, ""};
}

}  // namespace tessera
