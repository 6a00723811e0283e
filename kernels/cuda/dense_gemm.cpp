// dense_gemm.cpp — dense_gemm.hpp by cuBLASLt. Row-major matrices are its column-major ones
// transposed: (outputs x rows) = W^T^T X^T.
#include "kernels/cuda/dense_gemm.hpp"

#if __has_include(<cublasLt.h>)

#include <array>
#include <map>
#include <stdexcept>
#include <string>

#include <dlfcn.h>

#include <cublasLt.h>

namespace tessera {
namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
constexpr const char* kLibraries[] = {"libcublasLt.so.13", "libcublasLt.so"};

struct CloseLibrary {
  void operator()(void* handle) const { dlclose(handle); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

Library open_library() {
  for (const char* name : kLibraries) {
    if (Library library{dlopen(name, RTLD_NOW | RTLD_LOCAL)}) return library;
  }
  throw std::runtime_error("cuBLASLt is not installed");
}

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(std::string(what) + ": status " + std::to_string(static_cast<int>(status)));
}

// The functions that are called, by name.
struct Functions {
  explicit Functions(void* library) {
    find(library, "cublasLtCreate", create);
    find(library, "cublasLtDestroy", destroy);
    find(library, "cublasLtMatmulDescCreate", create_product);
    find(library, "cublasLtMatmulDescDestroy", destroy_product);
    find(library, "cublasLtMatmulDescSetAttribute", set_product);
    find(library, "cublasLtMatrixLayoutCreate", create_layout);
    find(library, "cublasLtMatrixLayoutDestroy", destroy_layout);
    find(library, "cublasLtMatmulPreferenceCreate", create_preference);
    find(library, "cublasLtMatmulPreferenceDestroy", destroy_preference);
    find(library, "cublasLtMatmulPreferenceSetAttribute", set_preference);
    find(library, "cublasLtMatmulAlgoGetHeuristic", choose);
    find(library, "cublasLtMatmul", multiply);
  }

  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmulDescCreate) create_product;
  decltype(&cublasLtMatmulDescDestroy) destroy_product;
  decltype(&cublasLtMatmulDescSetAttribute) set_product;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose;
  decltype(&cublasLtMatmul) multiply;

 private:
  // dlsym gives an object pointer; POSIX promises that it converts to a function's.
  template <class Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw std::runtime_error(std::string("cuBLASLt has no ") + name);
  }
};

using Shape = std::array<int, 4>;  // outputs, rows, cols, y_stride

Shape shape_of(const DenseProduct& product) {
  return {product.outputs, product.rows, product.cols, product.y_stride};
}

}  // namespace

struct DenseGemm::State {
  // A shape's descriptors and the algorithm that the library advises for it.
  struct Plan {
    cublasLtMatrixLayout_t w = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t y = nullptr;
    cublasLtMatmulHeuristicResult_t chosen{};
  };

  State() : library(open_library()), call(library.get()), workspace(kWorkspaceBytes) {
    check(call.create(&handle), "cublasLtCreate");
    check(call.create_product(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDesc");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(call.set_product(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
          "cublasLtMatmulDesc");
    check(call.create_preference(&preference), "cublasLtMatmulPreference");
    check(call.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                              &kWorkspaceBytes, sizeof kWorkspaceBytes),
          "cublasLtMatmulPreference");
  }
  ~State() {
    for (const auto& [shape, plan] : plans) {
      for (const cublasLtMatrixLayout_t layout : {plan.w, plan.x, plan.y}) {
        call.destroy_layout(layout);
      }
    }
    call.destroy_preference(preference);
    call.destroy_product(product);
    call.destroy(handle);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  cublasLtMatrixLayout_t layout(cudaDataType type, int rows, int cols, int stride) {
    cublasLtMatrixLayout_t made = nullptr;
    check(call.create_layout(&made, type, static_cast<std::uint64_t>(rows),
                             static_cast<std::uint64_t>(cols), stride),
          "cublasLtMatrixLayout");
    return made;
  }

  const Plan& plan_of(const DenseProduct& p) {
    const auto found = plans.find(shape_of(p));
    if (found != plans.end()) return found->second;
    Plan& plan = plans[shape_of(p)];
    plan.w = layout(CUDA_R_16F, p.cols, p.outputs, p.cols);
    plan.x = layout(CUDA_R_16F, p.cols, p.rows, p.cols);
    plan.y = layout(CUDA_R_32F, p.outputs, p.rows, p.y_stride);
    int count = 0;
    check(call.choose(handle, product, plan.w, plan.x, plan.y, plan.y, preference, 1, &plan.chosen,
                      &count),
          "cublasLtMatmulAlgoGetHeuristic");
    if (count == 0) throw CudaError("cuBLASLt has no algorithm for a product of this shape");
    return plan;
  }

  Library library;
  Functions call;
  DeviceBuffer<std::byte> workspace;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  std::map<Shape, Plan> plans;
};

DenseGemm::DenseGemm() : state_(std::make_unique<State>()) {}
DenseGemm::~DenseGemm() = default;

void DenseGemm::multiply(CudaStream& stream, const DenseProduct& product) {
  const State::Plan& plan = state_->plan_of(product);
  const float one = 1.0F;
  const float zero = 0.0F;
  check(state_->call.multiply(
            state_->handle, state_->product, &one, product.w, plan.w, product.x, plan.x, &zero,
            product.y, plan.y, product.y, plan.y, &plan.chosen.algo, state_->workspace.data(),
            state_->workspace.bytes(), static_cast<cudaStream_t>(stream.handle())),
        "cublasLtMatmul");
}

}  // namespace tessera

#else  // a toolkit without the library's header

#include <stdexcept>

namespace tessera {

struct DenseGemm::State {};

DenseGemm::DenseGemm() {
  throw std::runtime_error("cuBLASLt was not there when this was built");
}
DenseGemm::~DenseGemm() = default;
void DenseGemm::multiply(CudaStream& /*stream*/, const DenseProduct& /*product*/) {}

}  // namespace tessera

#endif
