# Sourced by .ci/run: finds nvcc, or installs the pinned one that compiles the CUDA kernels. No GPU or driver is needed.
OCTAVO_NVCC_WHEELS=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96)
OCTAVO_PTXAS_WHEEL=nvidia-cuda-nvcc-cu12==12.9.86

# octavo_nvcc FOLDER: prints the path of nvcc 13 or later: on PATH, in CUDA_HOME, in /usr/local/cuda, else from PyPI's wheels in FOLDER.
octavo_nvcc() {
  local folder=$1 nvcc
  for nvcc in "$(command -v nvcc)" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" /usr/local/cuda/bin/nvcc \
    "$folder/nvidia/cu13/bin/nvcc"; do
    [ -n "$nvcc" ] && [ -x "$nvcc" ] && "$nvcc" --version | grep -qE 'release 1[3-9]\.' && echo "$nvcc" && return 0
  done
  echo "octavo: installing ${OCTAVO_NVCC_WHEELS[*]} into $folder" >&2
  python3 -m pip --version > /dev/null 2>&1 || octavo_install python3-pip || return 1
  python3 -m pip install -q --no-deps --root-user-action=ignore --target "$folder" "${OCTAVO_NVCC_WHEELS[@]}" >&2 || return 1
  nvcc=$folder/nvidia/cu13/bin/nvcc
  [ -x "$nvcc" ] && echo "$nvcc" && return 0
  echo "octavo: the wheels hold no $nvcc; install the CUDA toolkit 13 and put nvcc on PATH" >&2
  return 1
}

# octavo_ptxas FOLDER: prints the path of a ptxas that knows the cards before sm_75, of CUDA 12: in CUDA12_HOME, else from PyPI's wheel in
# FOLDER. The wheel has no nvcc.
octavo_ptxas() {
  local folder=$1 ptxas
  for ptxas in "${CUDA12_HOME:+$CUDA12_HOME/bin/ptxas}" "$folder/nvidia/cuda_nvcc/bin/ptxas"; do
    [ -n "$ptxas" ] && [ -f "$ptxas" ] && chmod +x "$ptxas" 2> /dev/null
    [ -n "$ptxas" ] && [ -x "$ptxas" ] && "$ptxas" --version | grep -qE 'release 12\.' && echo "$ptxas" && return 0
  done
  [ -e "$folder" ] && echo "octavo: $folder holds no ptxas of CUDA 12; remove it" >&2 && return 1
  echo "octavo: installing $OCTAVO_PTXAS_WHEEL into $folder" >&2
  python3 -m pip install -q --no-deps --root-user-action=ignore --target "$folder" "$OCTAVO_PTXAS_WHEEL" >&2 || return 1
  octavo_ptxas "$folder"
}
