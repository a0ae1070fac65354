# cmake -DBUILD=... -DSOURCE=... -DWORK=... -DCOMPILER=... -DFLAGS=... -P run.cmake:
# installs octavo, builds programs on it, and runs them.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed (${status}): ${command}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
function(build name source)
  run(${CMAKE_COMMAND} -S ${source} -B ${WORK}/${name} -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix
      -DCMAKE_CXX_COMPILER=${COMPILER} "-DCMAKE_CXX_FLAGS=${FLAGS}")
  run(${CMAKE_COMMAND} --build ${WORK}/${name})
endfunction()

# output_of(variable command...): runs it and keeps its standard output.
function(output_of variable)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}\n${text}")
  endif()
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

build(consumer ${SOURCE})
run(${WORK}/consumer/consumer)

set(examples ${SOURCE}/../../docs/examples)
build(embed ${examples}/embed)
output_of(text ${WORK}/embed/embed ${WORK}/prefix/share/octavo/configs/shapes_resnet8.yaml ${WORK}/model.safetensors
          data.size=8 data.samples=64 data.batch=16 schedule.type=constant "schedule.warmup=0 steps")
if(NOT text MATCHES "step 20: loss" OR NOT EXISTS ${WORK}/model.safetensors)
  message(FATAL_ERROR "embed: unexpected output\n${text}")
endif()

build(extend ${examples}/extend)
output_of(text ${WORK}/extend/extend ${examples}/extend/stripes.yaml ${WORK}/run)
if(NOT text MATCHES "accuracy (0\\.[89]|1\\.)[0-9]+ after 60 steps")
  message(FATAL_ERROR "extend: unexpected output\n${text}")
endif()
